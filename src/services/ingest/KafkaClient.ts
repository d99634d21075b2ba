// One reader's or writer's own connection to Kafka, made of kafkajs's cluster and broker classes (2.2.4, the
// last there is). A reader needs no group member: it fetches and commits like a Java client after `assign`.
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
import { type FetchedPartition, type FetchResponse, parseFetchResponse } from "./kafkaFetch.ts"

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

/** The sockets of one client, so that closing it takes no round trip and lets nothing reconnect later. */
const makeSockets = () => {
  const open = new Set<Socket>()
  let closed = false
  const socketFactory: NonNullable<KafkaConfig["socketFactory"]> = ({ host, port, ssl, onConnect }) => {
    if (closed) throw new Error("this client is closed")
    const socket = ssl
      ? connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...ssl }, onConnect)
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
    socketFactory: sockets.socketFactory,
    logLevel: logLevel.INFO,
    logCreator: (level) => {
      const write = connection.log(level)
      return (entry) => {
        if (!sockets.isClosed()) write(entry)
      }
    }
  })
  return { kafka, close: sockets.close }
}

/** The parts of kafkajs 2.2.4 that its types leave out. */
interface Request {
  readonly request: { readonly apiName: string; readonly apiVersion: number }
  readonly response: unknown
}
interface RequestQueue {
  readonly pending: ReadonlyArray<unknown>
  scheduleCheckPendingRequests: () => void
}
interface Pool {
  send: (request: Request) => Promise<unknown>
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

/** Takes a fetch response as it came, in place of kafkajs's decoder that makes an object of each record. */
const rawResponse = (version: number) => ({
  decode: async (bytes: Buffer) => {
    const response = parseFetchResponse(bytes, version)
    return { ...response, clientSideThrottleTime: response.throttleMillis }
  },
  parse: async (response: FetchResponse) => response
})

/** Makes a broker's connections answer fetches undecoded. To be done once a broker. */
const prepareBroker = (broker: Broker) => {
  const pool = (broker as unknown as { readonly connectionPool?: Pool }).connectionPool
  if (pool === undefined || typeof pool.send !== "function") {
    throw new Error("this kafkajs is not 2.2.4: its connection pool is not where it was")
  }
  const send = pool.send.bind(pool)
  pool.send = (request) =>
    send(
      request.request.apiName === "Fetch"
        ? { ...request, response: rawResponse(request.request.apiVersion) }
        : request
    )
}

/** Reads one partition and commits for it. Promises reject with kafkajs's errors or `KafkaErrorCode`. */
export interface PartitionClient {
  /** Waits at most `maxWaitMillis` for records from `offset` on; about `bytesMax` bytes, one batch at least. */
  readonly fetch: (offset: number, bytesMax: number, maxWaitMillis: number) => Promise<FetchedPartition>
  readonly bounds: () => Promise<{ readonly earliest: number; readonly end: number }>
  /** Commits for a group without members, so that tools see the lag; needs no session. */
  readonly commit: (groupId: string, offset: number) => Promise<void>
  /** After a broker said that it does not lead the partition (any more). */
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

/** Connects to the cluster and learns where `topic` lies. Rejects where the topic or partition is unknown. */
export const connectPartition = async (
  connection: KafkaConnection,
  topic: string,
  partition: number
): Promise<PartitionClient> => {
  const { kafka, close } = makeKafka(connection, 1)
  try {
    const cluster = captureCluster(kafka)
    const prepared = new WeakSet<Broker>()
    const prepare = (broker: Broker) => {
      if (!prepared.has(broker)) {
        prepareBroker(broker)
        prepared.add(broker)
      }
      return broker
    }
    await cluster.connect()
    await cluster.addMultipleTargetTopics([topic])
    const leader = async () => {
      const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))
      if (nodeId === undefined) throw new PartitionMissing(`there is no partition ${partition}`)
      return prepare(await cluster.findBroker({ nodeId }))
    }
    await leader()
    const offsetOf = async (fromBeginning: boolean) => {
      const [found] = await cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], fromBeginning }])
      return Number(found.partitions[0].offset)
    }
    return {
      fetch: async (offset, bytesMax, maxWaitMillis) => {
        await cluster.refreshMetadataIfNecessary()
        const broker = await leader()
        const response: FetchResponse = await broker.fetch({
          isolationLevel: 1,
          maxWaitTime: maxWaitMillis,
          minBytes: 1,
          maxBytes: bytesMax,
          topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: bytesMax }] }]
        })
        if (response.errorCode !== 0) throw new KafkaErrorCode(response.errorCode)
        const fetched = response.partitions.find((p) => p.topic === topic && p.partition === partition)
        if (fetched === undefined) throw new Error("the broker's answer leaves the partition out")
        if (fetched.errorCode !== 0) throw new KafkaErrorCode(fetched.errorCode)
        return fetched
      },
      bounds: async () => {
        const [earliest, end] = await Promise.all([offsetOf(true), offsetOf(false)])
        return { earliest, end }
      },
      commit: async (groupId, offset) => {
        const coordinator = prepare(await cluster.findGroupCoordinator({ groupId }))
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
