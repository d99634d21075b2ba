// Fetches for all readers of a process together: one request after the other at each broker, for every partition
// whose reader has taken what came before. A state machine on promises, outside Effect: a fetch is too frequent.
import { type ClusterClient, KafkaErrorCode, OFFSET_OUT_OF_RANGE, PartitionMissing } from "./KafkaClient.ts"
import { makeHolder } from "./KafkaHolder.ts"
import type { FetchedPartition, FetchRequest, WantedPartition } from "./kafkaFetch.ts"
import { roomFor } from "./kafkaFrames.ts"

/** Bounds of the fetching; times in ms, sizes in bytes. */
export interface FetcherLimits {
  /**
   * How long a broker may hold a request open while there is nothing to read. A partition that is opened meanwhile
   * takes part in the next request, so this is also the longest that it waits.
   */
  readonly longPollMillis: number
  /** The same for a request that leaves a partition out because its reader is busy: it will be back soon. */
  readonly busyPollMillis: number
  /**
   * After a response of less than `pacedBytes`, requests are at least this far apart: a trickle would otherwise
   * be fetched record by record, each fetch at the price of hundreds of events, and keep the whole core busy.
   */
  readonly paceMillis: number
  readonly pacedBytes: number
  /** In one response, shared evenly by the partitions that it is asked for. */
  readonly responseBytesMax: number
  /**
   * No share is smaller, or with many partitions it would hold no batch: a broker sends one that is larger than its
   * share only to the first in line.
   */
  readonly shareBytesMin: number
  /** A request that has neither an answer nor an error after this is given up, with its connection. */
  readonly stallMillis: number
  /** Trouble is retried this long, at the same offset, before it is the reader's. */
  readonly unavailableAfterMillis: number
  readonly retryMinMillis: number
  readonly retryMaxMillis: number
}

/** What a person should hear of: that reading goes wrong, and that it works again. */
export type FetchReport = (
  event: "failing" | "still-failing" | "recovered",
  topic: string,
  partition: number,
  cause?: unknown
) => void

/** One reader's part of the fetching. At most one response is kept for it, beside the one that it works on. */
export interface Feed {
  /** Asks for the records from `offset` on. To be called once for each `take` that gave something. */
  readonly want: (offset: number) => void
  /** What came, once, valid until the next `take`; undefined where nothing has. Throws what stopped it; `want` then starts again. */
  readonly take: () => FetchedPartition | undefined
  /** Calls `wake` once, when there is something to take or after `millis`. The function answered calls it off. */
  readonly wait: (millis: number, wake: () => void) => () => void
  readonly close: () => void
}

export interface KafkaFetcher {
  readonly feed: (topic: string, partition: number, bytesMax: number) => Feed
  /** For questions beside fetching. Made anew after `discard`. */
  readonly client: () => Promise<ClusterClient>
  readonly discard: () => void
  readonly close: () => void
}

/** A feed is `idle` until its reader wants something, `asked` while a request is under way, then `arrived`. */
interface FeedState {
  readonly topic: string
  readonly partition: number
  readonly bytesMax: number
  status: "idle" | "wanted" | "asked" | "arrived" | "failed" | "closed"
  offset: number
  session: Session | undefined
  fetched: FetchedPartition | undefined
  /** The reader's memory: what it works on, and what comes next. */
  current: Buffer
  spare: Buffer
  failure: unknown
  /** Numbers of the last request that it took part in, and of the last that brought it something. */
  askedAt: number
  servedAt: number
  /** When trouble began, −1 without any. */
  failingSince: number
  pause: number
  retry: NodeJS.Timeout | undefined
  wake: (() => void) | undefined
}

/** The fetching at one broker. */
interface Session {
  readonly nodeId: string
  readonly client: ReturnType<typeof makeHolder>
  /** All feeds of partitions that this broker leads; the first in line come first in a request. */
  line: Array<FeedState>
  requests: number
  running: boolean
  timer: NodeJS.Timeout | undefined
  immediate: NodeJS.Immediate | undefined
  requestedAt: number
  trickles: boolean
}

const nothing = Buffer.alloc(0)

/** Rejects where `promise` is not settled within `millis`, saying what there was none of. */
export const within = <A>(promise: Promise<A>, millis: number, what = "answer"): Promise<A> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} within ${millis} ms`)), millis)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })

/** Each broker that leads a partition gets a client of its own, so that trouble at one is not the others'. */
export const makeKafkaFetcher = (
  connect: () => Promise<ClusterClient>,
  limits: FetcherLimits,
  report: FetchReport
): KafkaFetcher => {
  const control = makeHolder(connect)
  const sessions = new Map<string, Session>()
  let closed = false

  const wake = (feed: FeedState) => {
    const waiting = feed.wake
    feed.wake = undefined
    waiting?.()
  }

  const sessionOf = (nodeId: string): Session => {
    let session = sessions.get(nodeId)
    if (session === undefined) {
      session = {
        nodeId,
        client: makeHolder(connect),
        line: [],
        requests: 0,
        running: false,
        timer: undefined,
        immediate: undefined,
        requestedAt: Number.NEGATIVE_INFINITY,
        trickles: false
      }
      sessions.set(nodeId, session)
    }
    return session
  }

  const leave = (feed: FeedState) => {
    const { session } = feed
    if (session === undefined) return
    feed.session = undefined
    session.line = session.line.filter((other) => other !== feed)
    if (session.line.length > 0) return
    clearTimeout(session.timer)
    clearImmediate(session.immediate)
    session.client.discard()
    sessions.delete(session.nodeId)
  }

  /** Finds the broker of a feed that wants something, and takes part in its requests. */
  const place = async (feed: FeedState, isStale: boolean) => {
    if (closed) return
    try {
      const nodeId = await within(
        control.get().then(async (client) => {
          if (isStale) await client.refresh()
          return client.leader(feed.topic, feed.partition)
        }),
        limits.stallMillis
      )
      if (closed || feed.status !== "wanted" || feed.session !== undefined) return
      feed.session = sessionOf(nodeId)
      // Each broker's requests have numbers of their own.
      feed.askedAt = feed.servedAt = 0
      feed.session.line.push(feed)
      schedule(feed.session)
    } catch (cause) {
      if (!(cause instanceof KafkaErrorCode || cause instanceof PartitionMissing)) control.discard()
      if (feed.status === "wanted") fail(feed, cause)
    }
  }

  const stop = (feed: FeedState, cause: unknown) => {
    feed.status = "failed"
    feed.failure = cause
    feed.failingSince = -1
    wake(feed)
  }

  const fail = (feed: FeedState, cause: unknown) => {
    if (feed.status === "closed" || closed) return
    leave(feed)
    const isLost = cause instanceof KafkaErrorCode && cause.code === OFFSET_OUT_OF_RANGE
    if (isLost || cause instanceof PartitionMissing) return stop(feed, cause)
    const now = performance.now()
    if (feed.failingSince < 0) {
      feed.failingSince = now
      feed.pause = limits.retryMinMillis
      report("failing", feed.topic, feed.partition, cause)
    } else report("still-failing", feed.topic, feed.partition, cause)
    if (now - feed.failingSince >= limits.unavailableAfterMillis) return stop(feed, cause)
    feed.status = "wanted"
    feed.retry = setTimeout(() => {
      place(feed, true)
    }, feed.pause)
    feed.pause = Math.min(feed.pause * 2, limits.retryMaxMillis)
  }

  /** Sees to it that a request goes out; not before this turn of the loop is over, so that others can join. */
  const schedule = (session: Session) => {
    if (session.running || session.timer !== undefined || session.immediate !== undefined || closed) return
    const early = session.trickles ? session.requestedAt + limits.paceMillis - performance.now() : 0
    if (early > 0) {
      session.timer = setTimeout(() => {
        session.timer = undefined
        run(session)
      }, early)
    } else {
      session.immediate = setImmediate(() => {
        session.immediate = undefined
        run(session)
      })
    }
  }

  const requestOf = (session: Session, asked: ReadonlyArray<FeedState>): FetchRequest => {
    const share = Math.max(limits.shareBytesMin, Math.floor(limits.responseBytesMax / asked.length))
    const wanted: ReadonlyArray<WantedPartition> = asked.map(({ topic, partition, offset, bytesMax }) => ({
      topic,
      partition,
      offset,
      bytesMax: Math.min(bytesMax, share)
    }))
    const isWhole = asked.length === session.line.length
    return {
      maxWaitMillis: isWhole ? limits.longPollMillis : limits.busyPollMillis,
      bytesMax: limits.responseBytesMax,
      wanted
    }
  }

  const run = async (session: Session) => {
    const asked: Array<FeedState> = []
    for (const feed of session.line) {
      // A broker answers a partition once: where two readers have the same, they take turns.
      if (feed.status !== "wanted") continue
      const twin = asked.findIndex(
        (other) => other.partition === feed.partition && other.topic === feed.topic
      )
      if (twin < 0) asked.push(feed)
      else if (feed.askedAt < asked[twin].askedAt) asked[twin] = feed
    }
    if (asked.length === 0) return
    session.requests++
    for (const feed of asked) {
      feed.status = "asked"
      feed.askedAt = session.requests
    }
    session.running = true
    session.requestedAt = performance.now()
    try {
      const request = requestOf(session, asked)
      const answer = session.client.get().then((client) => client.fetch(session.nodeId, request))
      deliver(session, asked, (await within(answer, limits.stallMillis)).partitions)
    } catch (cause) {
      if (!(cause instanceof KafkaErrorCode)) session.client.discard()
      for (const feed of asked) if (feed.status === "asked") fail(feed, cause)
    }
    session.running = false
    if (session.line.some((feed) => feed.status === "wanted")) schedule(session)
  }

  const deliver = (
    session: Session,
    asked: ReadonlyArray<FeedState>,
    parts: ReadonlyArray<FetchedPartition>
  ) => {
    let bytes = 0
    asked.forEach((feed, i) => {
      if (feed.status !== "asked") return
      const isPart = (part: FetchedPartition) =>
        part.partition === feed.partition && part.topic === feed.topic
      const part = parts[i] !== undefined && isPart(parts[i]) ? parts[i] : parts.find(isPart)
      if (part === undefined) return fail(feed, new Error("the broker's answer leaves the partition out"))
      if (part.errorCode !== 0) return fail(feed, new KafkaErrorCode(part.errorCode))
      if (feed.failingSince >= 0) {
        feed.failingSince = -1
        report("recovered", feed.topic, feed.partition)
      }
      if (part.records.length === 0) {
        feed.status = "wanted"
        return
      }
      bytes += part.records.length
      feed.servedAt = session.requests
      feed.status = "arrived"
      feed.spare = roomFor(feed.spare, part.records.length)
      const length = part.records.copy(feed.spare)
      feed.fetched = { ...part, records: feed.spare.subarray(0, length) }
      wake(feed)
    })
    session.trickles = bytes < limits.pacedBytes
    // Whoever got something last comes last, whether or not it took part since: a full response leaves out who stands
    // behind, and those who are busy in turn must not keep another from the front.
    if (bytes > 0 || asked.length < session.line.length) {
      session.line.sort((a, b) => a.servedAt - b.servedAt || a.askedAt - b.askedAt)
    }
  }

  const feedOf = (topic: string, partition: number, bytesMax: number): Feed => {
    const feed: FeedState = {
      topic,
      partition,
      bytesMax,
      status: "idle",
      offset: 0,
      session: undefined,
      fetched: undefined,
      current: nothing,
      spare: nothing,
      askedAt: 0,
      servedAt: 0,
      failure: undefined,
      failingSince: -1,
      pause: 0,
      retry: undefined,
      wake: undefined
    }
    return {
      want: (offset) => {
        if (feed.status !== "idle") return
        feed.status = "wanted"
        feed.offset = offset
        if (feed.session === undefined) place(feed, false)
        else schedule(feed.session)
      },
      take: () => {
        if (feed.status === "failed") {
          feed.status = "idle"
          throw feed.failure
        }
        if (feed.status !== "arrived") return undefined
        const { fetched, spare } = feed
        feed.status = "idle"
        feed.fetched = undefined
        feed.spare = feed.current
        feed.current = spare
        return fetched
      },
      wait: (millis, waiting) => {
        if (feed.status === "arrived" || feed.status === "failed") {
          waiting()
          return () => undefined
        }
        const timer = setTimeout(() => wake(feed), millis)
        feed.wake = () => {
          clearTimeout(timer)
          waiting()
        }
        return () => {
          clearTimeout(timer)
          feed.wake = undefined
        }
      },
      close: () => {
        feed.status = "closed"
        feed.fetched = undefined
        feed.current = feed.spare = nothing
        feed.wake = undefined
        clearTimeout(feed.retry)
        leave(feed)
      }
    }
  }

  return {
    feed: feedOf,
    client: control.get,
    discard: control.discard,
    close: () => {
      closed = true
      control.discard()
      for (const session of sessions.values()) {
        clearTimeout(session.timer)
        clearImmediate(session.immediate)
        session.client.discard()
      }
      sessions.clear()
    }
  }
}
