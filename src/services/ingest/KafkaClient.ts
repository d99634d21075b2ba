// A connection to a Kafka cluster, made of kafkajs's cluster and broker classes (2.2.4, the last there is).
// Reading needs no group member: it fetches and commits like a Java client after `assign`.
import { createRequire } from "node:module"
import { connect as connectPlain, isIP, type Socket } from "node:net"
import { type ConnectionOptions, connect as connectTls } from "node:tls"
import {
  type Broker,
  type Cluster,
  Kafka,
  type KafkaConfig,
  type logCreator,
  logLevel,
  type SASLOptions
} from "kafkajs"
import {
  encodeFetchRequest,
  FETCH_VERSION_MAX,
  type FetchRequest,
  type FetchResponse,
  parseFetchResponse
} from "./kafkaFetch.ts"
import { makeFrameReader } from "./kafkaFrames.ts"

/** How to reach the brokers. Times in ms. */
export interface KafkaConnection {
  readonly brokers: ReadonlyArray<string>
  readonly clientId: string
  readonly ssl?: boolean | ConnectionOptions
  readonly sasl?: SASLOptions
  /** A request that is not answered within this counts as failed; a frozen broker shows after this time. */
  readonly requestTimeoutMillis: number
  readonly connectTimeoutMillis: number
  readonly log: logCreator
}

/** A Kafka error code in an answer, for example 1 `OFFSET_OUT_OF_RANGE`. */
export class KafkaErrorCode extends Error {
  readonly code: number
  constructor(code: number) {
    super(`the broker answered with error code ${code}`)
    this.code = code
  }
}

/** The topic is there, the partition is not. */
export class PartitionMissing extends Error {}

/** Kafka's code for an offset that the partition does not hold. */
export const OFFSET_OUT_OF_RANGE = 1

const KEEP_ALIVE_MILLIS = 60_000
/** On top of the time that a broker may hold a fetch open, where that is longer than a request may take. */
const SLACK_MILLIS = 1_000

type SocketFactory = NonNullable<KafkaConfig["socketFactory"]>

/** A plain socket whose "data" are whole answers, in memory that the next answer overwrites. */
const connectFramed = (host: string, port: number, onConnect: () => void): Socket => {
  const frames = makeFrameReader((frame) => socket.emit("data", frame))
  const socket: Socket = connectPlain(
    {
      host,
      port,
      onread: {
        buffer: frames.room,
        callback: (count) => {
          try {
            frames.took(count)
          } catch (cause) {
            socket.destroy(cause instanceof Error ? cause : new Error(String(cause)))
          }
          return true
        }
      }
    },
    onConnect
  )
  return socket
}

/** The sockets of one client, so that closing it takes no round trip and lets nothing reconnect later. */
const makeSockets = () => {
  const open = new Set<Socket>()
  let closed = false
  const socketFactory =
    (framed: boolean): SocketFactory =>
    ({ host, port, ssl, onConnect }) => {
      if (closed) throw new Error("this client is closed")
      const socket = ssl
        ? connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...ssl }, onConnect)
        : framed
          ? connectFramed(host, port, onConnect)
          : connectPlain({ host, port }, onConnect)
      socket.setKeepAlive(true, KEEP_ALIVE_MILLIS)
      socket.setNoDelay(true)
      open.add(socket)
      socket.once("close", () => open.delete(socket))
      return socket
    }
  const close = () => {
    closed = true
    for (const socket of open) socket.destroy(new Error("this client is closed"))
  }
  return { socketFactory, close, isClosed: () => closed }
}

/** A kafkajs client and how to cut its connections at once. Its log is silent after that. */
export const makeKafka = (connection: KafkaConnection, retries: number) => {
  const sockets = makeSockets()
  const kafka = new Kafka({
    brokers: [...connection.brokers],
    clientId: connection.clientId,
    ssl: connection.ssl ?? false,
    ...(connection.sasl === undefined ? {} : { sasl: connection.sasl }),
    connectionTimeout: connection.connectTimeoutMillis,
    requestTimeout: connection.requestTimeoutMillis,
    retry: { retries, initialRetryTime: 100, maxRetryTime: 2_000 },
    socketFactory: sockets.socketFactory(false),
    logLevel: logLevel.INFO,
    logCreator: (level) => {
      const write = connection.log(level)
      return (entry) => {
        if (!sockets.isClosed()) write(entry)
      }
    }
  })
  return { kafka, close: sockets.close, framedSockets: sockets.socketFactory(true) }
}

/** The parts of kafkajs 2.2.4 that its types leave out. */
interface Request {
  readonly request: {
    readonly apiKey: number
    readonly apiName: string
    readonly apiVersion: number
    readonly encode: () => { readonly buf: Buffer; readonly buffer: Buffer }
  }
  readonly response: unknown
  readonly requestTimeout: number
}
interface RequestQueue {
  readonly pending: ReadonlyArray<unknown>
  scheduleCheckPendingRequests: () => void
}
interface Connection {
  socketFactory: SocketFactory
  processData: (data: Buffer) => void
  readonly bytesBuffered: number
  chunks: Array<Buffer>
}
interface Pool {
  readonly send: (request: Request) => Promise<unknown>
  /** The second is for fetches alone. */
  readonly pool: ReadonlyArray<Connection>
}

/**
 * kafkajs asks a timer of every connection to look for waiting requests each millisecond, for ever, also
 * when there are none (its issue 1751). Asking only when one waits ends that.
 */
const calmTimers = () => {
  const queue: { readonly prototype: RequestQueue } = createRequire(import.meta.url)(
    "kafkajs/src/network/requestQueue/index.js"
  )
  const schedule = queue.prototype.scheduleCheckPendingRequests
  queue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this)
  }
}
calmTimers()

/** Hands over a fetch response as it came; kafkajs's decoder makes an object of each record. */
const rawResponse = (version: number) => ({
  decode: (bytes: Buffer) => {
    const response = parseFetchResponse(bytes, version)
    return { ...response, clientSideThrottleTime: response.throttleMillis }
  },
  parse: (response: FetchResponse) => response
})

/** A broker as kafkajs keeps it. */
interface Inside {
  readonly connectionPool?: Pool
  readonly versions?: Readonly<Record<number, { readonly maxVersion: number }>>
}

const FETCH = 1

/**
 * Sends fetches through a broker's own connection for them, past kafkajs's encoder and decoder. One at a time: the
 * answer's bytes hold until the next request.
 */
const makeFetch = (broker: Broker, framedSockets: SocketFactory) => {
  const { connectionPool: pool, versions } = broker as unknown as Inside
  const newest = versions?.[FETCH]?.maxVersion
  const line = pool?.pool?.[1]
  if (pool === undefined || typeof line?.processData !== "function" || newest === undefined) {
    throw new Error("this kafkajs is not 2.2.4: its broker is not made as it was")
  }
  line.socketFactory = framedSockets
  const processData = line.processData
  line.processData = (data) => {
    // kafkajs keeps the nothing that is left of the answer before, and copies all to put the two together.
    if (line.bytesBuffered === 0) line.chunks = []
    processData.call(line, data)
  }
  const version = Math.min(FETCH_VERSION_MAX, newest)
  const response = rawResponse(version)
  return (request: FetchRequest) => {
    const bytes = encodeFetchRequest(request, version)
    return pool.send({
      request: {
        apiKey: FETCH,
        apiName: "Fetch",
        apiVersion: version,
        encode: () => ({ buf: bytes, buffer: bytes })
      },
      response,
      requestTimeout: request.maxWaitMillis + SLACK_MILLIS
    }) as Promise<FetchResponse>
  }
}

/** Speaks with the brokers of a cluster. Promises reject with kafkajs's errors, `KafkaErrorCode` or `PartitionMissing`. */
export interface ClusterClient {
  /** The broker that leads a partition, as last heard. */
  readonly leader: (topic: string, partition: number) => Promise<string>
  /**
   * Asks one broker; the answer holds one part for each partition asked for, some perhaps with an error code. One
   * fetch at a time at a broker: the records hold until the next.
   */
  readonly fetch: (nodeId: string, request: FetchRequest) => Promise<FetchResponse>
  readonly bounds: (
    topic: string,
    partition: number
  ) => Promise<{ readonly earliest: number; readonly end: number }>
  /** Commits for a group without members, so that tools see the lag; needs no session. */
  readonly commit: (groupId: string, topic: string, partition: number, offset: number) => Promise<void>
  /** After a broker said that it does not lead a partition (any more). */
  readonly refresh: () => Promise<void>
  /** Cuts the connections at once. */
  readonly close: () => void
}

/** The cluster of a consumer that never runs: an assigner is given it when the consumer is made. */
const captureCluster = (kafka: Kafka): Cluster => {
  let captured: Cluster | undefined
  kafka.consumer({
    groupId: "unused",
    allowAutoTopicCreation: false,
    partitionAssigners: [
      ({ cluster }) => {
        captured = cluster
        return {
          name: "none",
          version: 1,
          assign: () => Promise.resolve([]),
          protocol: () => ({ name: "none", metadata: Buffer.alloc(0) })
        }
      }
    ]
  })
  if (captured === undefined) throw new Error("this kafkajs is not 2.2.4: it gave its assigner no cluster")
  return captured
}

/** Connects to the cluster through any of the brokers named. */
export const connectCluster = async (connection: KafkaConnection): Promise<ClusterClient> => {
  const { kafka, close, framedSockets } = makeKafka(connection, 1)
  try {
    const cluster = captureCluster(kafka)
    const fetches = new WeakMap<Broker, ReturnType<typeof makeFetch>>()
    await cluster.connect()
    const known = new Set<string>()
    const learn = async (topic: string) => {
      if (known.has(topic)) return
      await cluster.addMultipleTargetTopics([topic])
      known.add(topic)
    }
    const leader = async (topic: string, partition: number) => {
      await learn(topic)
      const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))
      if (nodeId === undefined) throw new PartitionMissing(`there is no partition ${partition}`)
      return nodeId
    }
    const offsetOf = async (topic: string, partition: number, fromBeginning: boolean) => {
      const [found] = await cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], fromBeginning }])
      return Number(found.partitions[0].offset)
    }
    return {
      leader,
      fetch: async (nodeId, request) => {
        // Brokers are found through the metadata of a topic.
        for (const { topic } of request.wanted) if (!known.has(topic)) await learn(topic)
        const broker = await cluster.findBroker({ nodeId })
        let fetch = fetches.get(broker)
        if (fetch === undefined) fetches.set(broker, (fetch = makeFetch(broker, framedSockets)))
        const response = await fetch(request)
        if (response.errorCode !== 0) throw new KafkaErrorCode(response.errorCode)
        return response
      },
      bounds: async (topic, partition) => {
        await leader(topic, partition)
        const [earliest, end] = await Promise.all([
          offsetOf(topic, partition, true),
          offsetOf(topic, partition, false)
        ])
        return { earliest, end }
      },
      commit: async (groupId, topic, partition, offset) => {
        await learn(topic)
        const coordinator = await cluster.findGroupCoordinator({ groupId })
        await coordinator.offsetCommit({
          groupId,
          groupGenerationId: -1,
          memberId: "",
          topics: [{ topic, partitions: [{ partition, offset: String(offset) }] }]
        })
      },
      refresh: () => cluster.refreshMetadata(),
      close
    }
  } catch (cause) {
    close()
    throw cause
  }
}
