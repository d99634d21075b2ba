// Fetching for many readers at once: who takes part in which request, and what trouble at a broker does to whom.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { type ClusterClient, KafkaErrorCode } from "../../../src/services/ingest/KafkaClient.ts"
import { makeKafkaFetcher } from "../../../src/services/ingest/KafkaFetcher.ts"
import type {
  FetchedPartition,
  FetchRequest,
  FetchResponse
} from "../../../src/services/ingest/kafkaFetch.ts"

const limits = {
  longPollMillis: 100,
  busyPollMillis: 10,
  paceMillis: 5,
  pacedBytes: 1_000,
  responseBytesMax: 8_000,
  shareBytesMin: 200,
  stallMillis: 2_000,
  unavailableAfterMillis: 3_000,
  retryMinMillis: 50,
  retryMaxMillis: 1_000
}

interface Asked {
  readonly node: string
  readonly request: FetchRequest
  readonly answer: (records: Readonly<Record<number, string | number>>) => Promise<void>
  readonly refuse: (cause: Error) => Promise<void>
}

const turn = (millis = 0) => vi.advanceTimersByTimeAsync(millis)

/** A cluster whose answers the test gives; a number stands for an error code. */
const world = () => {
  const asked: Array<Asked> = []
  const leaders = new Map<number, string>()
  const closedNodes: Array<number> = []
  const reports: Array<string> = []
  let clients = 0
  const part = (partition: number, what: string | number | undefined): FetchedPartition => ({
    topic: "t",
    partition,
    errorCode: typeof what === "number" ? what : 0,
    lastStableOffset: 100,
    logStartOffset: 0,
    aborted: [],
    records: Buffer.from(typeof what === "string" ? what : "")
  })
  const connect = async (): Promise<ClusterClient> => {
    const number = clients++
    return {
      leader: async (_, partition) => leaders.get(partition) ?? "1",
      fetch: (node, request) =>
        new Promise<FetchResponse>((resolve, reject) => {
          asked.push({
            node,
            request,
            answer: async (records) => {
              const partitions = request.wanted.map(({ partition }) => part(partition, records[partition]))
              resolve({ throttleMillis: 0, errorCode: 0, partitions })
              await turn()
            },
            refuse: async (cause) => {
              reject(cause)
              await turn()
            }
          })
        }),
      bounds: async () => ({ earliest: 0, end: 0 }),
      commit: async () => undefined,
      refresh: async () => undefined,
      close: () => closedNodes.push(number)
    }
  }
  const fetcher = makeKafkaFetcher(connect, limits, (event, _, partition) => {
    reports.push(`${event} ${partition}`)
  })
  const next = async (): Promise<Asked> => {
    await turn(limits.paceMillis)
    const one = asked.shift()
    if (one === undefined) throw new Error("nothing was asked")
    return one
  }
  const open = (partition: number, offset = 0) => {
    const feed = fetcher.feed("t", partition, 4_000)
    feed.want(offset)
    return feed
  }
  return { fetcher, asked, leaders, closedNodes, reports, next, open }
}

const wantedOf = (asked: Asked) => asked.request.wanted.map(({ partition }) => partition)
const textOf = (fetched: FetchedPartition | undefined) => fetched?.records.toString()

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe("who takes part", () => {
  it("all readers of a broker's partitions, in one request that they share evenly", async () => {
    const { next, open } = world()
    for (const partition of [0, 1, 2]) open(partition, partition * 10)
    const first = await next()
    expect(first.request).toEqual({
      maxWaitMillis: 100,
      bytesMax: 8_000,
      wanted: [0, 1, 2].map((partition) => ({
        topic: "t",
        partition,
        offset: partition * 10,
        bytesMax: 2_666
      }))
    })
  })

  it("those of each broker by themselves", async () => {
    const { leaders, next, open } = world()
    leaders.set(1, "2")
    open(0)
    open(1)
    open(2)
    const two = [await next(), await next()]
    expect(two.map((one) => [one.node, wantedOf(one)])).toEqual([
      ["1", [0, 2]],
      ["2", [1]]
    ])
  })

  it("not a reader that has not taken what came; the broker then waits only briefly for the others", async () => {
    const { next, open } = world()
    const busy = open(0)
    open(1)
    await (await next()).answer({ 0: "a" })
    const second = await next()
    expect(wantedOf(second)).toEqual([1])
    expect(second.request.maxWaitMillis).toBe(10)
    expect(textOf(busy.take())).toBe("a")
    busy.want(1)
    await second.answer({})
    const third = await next()
    expect(new Set(wantedOf(third))).toEqual(new Set([0, 1]))
    expect(third.request.maxWaitMillis).toBe(100)
  })

  it("a reader that came during a poll, in the next request", async () => {
    const { asked, next, open } = world()
    open(0)
    const poll = await next()
    open(1)
    await turn(50)
    expect(asked).toEqual([])
    await poll.answer({})
    expect(wantedOf(await next())).toEqual([1, 0])
  })

  it("not a reader that is closed", async () => {
    const { next, open } = world()
    open(0)
    const leaving = open(1)
    const poll = await next()
    leaving.close()
    await poll.answer({ 1: "late" })
    expect(wantedOf(await next())).toEqual([0])
  })

  it("first who got nothing, last who got something", async () => {
    const { next, open } = world()
    for (const feed of [open(0), open(1), open(2)]) {
      feed.wait(1_000, () => {
        feed.take()
        feed.want(1)
      })
    }
    await (await next()).answer({ 0: "a", 1: "b" })
    expect(wantedOf(await next())).toEqual([2, 0, 1])
  })

  it("first whoever has waited longest, also when others are ready again before its turn", async () => {
    const { next, open } = world()
    const feeds = [open(0), open(1), open(2)]
    const served: Array<number> = []
    let busy: number | undefined
    // A batch that is larger than a partition's share comes to the first in line alone.
    for (let n = 0; n < 6; n++) {
      const one = await next()
      const first = wantedOf(one)[0]
      served.push(first)
      // Who was served before has read all of that while this request was under way.
      if (busy !== undefined) {
        feeds[busy].take()
        feeds[busy].want(n)
      }
      await one.answer({ [first]: "x" })
      busy = first
    }
    expect(served).toEqual([0, 1, 2, 0, 1, 2])
  })

  it("not with less than a common batch for each, however many there are", async () => {
    const { next, open } = world()
    for (let partition = 0; partition < 100; partition++) open(partition)
    const { request } = await next()
    expect(new Set(request.wanted.map(({ bytesMax }) => bytesMax))).toEqual(new Set([limits.shareBytesMin]))
    expect(request.bytesMax).toBe(limits.responseBytesMax)
  })

  it("two readers of one partition in turns", async () => {
    const { next, open } = world()
    open(0, 5)
    open(0, 9)
    const first = await next()
    await first.answer({})
    const second = await next()
    expect([first, second].map((one) => one.request.wanted.map(({ offset }) => offset))).toEqual([[5], [9]])
  })
})

describe("when", () => {
  it("at once after a full response, paced after a small one", async () => {
    const { asked, next, open } = world()
    const feed = open(0)
    await (await next()).answer({ 0: "x".repeat(1_000) })
    feed.take()
    feed.want(1)
    await turn()
    expect(asked.length).toBe(1)
    await asked[0].answer({ 0: "x" })
    feed.take()
    feed.want(2)
    await turn(4)
    expect(asked.length).toBe(1)
    await turn(1)
    expect(asked.length).toBe(2)
  })

  it("a waiting reader is woken by what comes, by trouble, or by its time", async () => {
    const { next, open } = world()
    const feed = open(0)
    const woken: Array<string> = []
    feed.wait(20, () => woken.push("time"))
    await turn(20)
    feed.wait(1_000, () => woken.push("records"))
    await (await next()).answer({ 0: "a" })
    expect(woken).toEqual(["time", "records"])
    feed.take()
    feed.want(1)
    feed.wait(10_000, () => woken.push("trouble"))
    await (await next()).answer({ 0: 1 })
    expect(woken).toEqual(["time", "records", "trouble"])
    expect(() => feed.take()).toThrow("error code 1")
  })

  it("what was taken stays as it is while the next comes", async () => {
    const { next, open } = world()
    const feed = open(0)
    await (await next()).answer({ 0: "first" })
    const first = feed.take()
    feed.want(1)
    await (await next()).answer({ 0: "again" })
    expect(textOf(first)).toBe("first")
    expect(textOf(feed.take())).toBe("again")
  })
})

describe("trouble", () => {
  it("a partition that moved is asked for at its new broker, the others go on", async () => {
    const { leaders, next, open, reports } = world()
    open(0, 7)
    open(1)
    const first = await next()
    leaders.set(0, "2")
    await first.answer({ 0: 6 })
    expect(wantedOf(await next())).toEqual([1])
    await turn(limits.retryMinMillis)
    const moved = await next()
    expect([moved.node, moved.request.wanted[0].offset]).toEqual(["2", 7])
    await moved.answer({ 0: "a" })
    expect(reports).toEqual(["failing 0", "recovered 0"])
  })

  it("a broken connection is made anew, at the same offset, with growing pauses", async () => {
    const { closedNodes, next, open } = world()
    open(0, 7)
    for (const pause of [50, 100, 200]) {
      await (await next()).refuse(new Error("the connection is closed"))
      await turn(pause)
    }
    expect((await next()).request.wanted[0].offset).toBe(7)
    expect(closedNodes.length).toBe(3)
  })

  it("a connection that does not answer is given up", async () => {
    const { closedNodes, next, open, reports } = world()
    open(0)
    await next()
    await turn(limits.stallMillis)
    expect(closedNodes.length).toBe(1)
    await turn(limits.retryMinMillis)
    expect(wantedOf(await next())).toEqual([0])
    expect(reports).toEqual(["failing 0"])
  })

  it("what lasts is the reader's, who may ask again", async () => {
    const { next, open } = world()
    const feed = open(0, 7)
    const woken: Array<string> = []
    feed.wait(60_000, () => woken.push("woken"))
    for (let millis = 0; woken.length === 0; millis += 2_000) {
      expect(millis).toBeLessThan(8_000)
      await next()
      await turn(limits.stallMillis + limits.retryMaxMillis)
    }
    expect(() => feed.take()).toThrow("no answer within 2000 ms")
    feed.want(7)
    expect((await next()).request.wanted[0].offset).toBe(7)
  })

  it("an offset that the partition does not hold is the reader's at once", async () => {
    const { next, open, reports } = world()
    const feed = open(0)
    await (await next()).answer({ 0: 1 })
    expect(() => feed.take()).toThrow(KafkaErrorCode)
    expect(reports).toEqual([])
  })

  it("after closing nothing is asked", async () => {
    const { asked, fetcher, next, open } = world()
    open(0)
    const poll = await next()
    fetcher.close()
    await poll.answer({})
    await turn(1_000)
    expect(asked).toEqual([])
  })
})
