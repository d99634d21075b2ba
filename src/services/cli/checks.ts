// What `doctor` looks at, each check by itself: what was found, and what to do about it.
import { randomUUID } from "node:crypto"
import { access, constants, mkdtemp, rm, stat, statfs, writeFile } from "node:fs/promises"
import { request } from "node:https"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { HttpClient } from "@effect/platform"
import { Cause, Duration, Effect, Redacted, Schema } from "effect"
import { ReadinessReport } from "../../schema/api/ProbesApi.ts"
import { EventLog } from "../ingest/EventLog.ts"
import type { RunnerConfig } from "../runtime/Settings.ts"
import { rootCause } from "./ApiClient.ts"
import { formatBytes } from "./format.ts"

export interface Check {
  readonly check: string
  readonly status: "ok" | "warning" | "failed"
  /** What was found. */
  readonly found: string
  /** What to do; empty where all is well. */
  readonly fix: string
}

export const ok = (check: string, found: string): Check => ({ check, status: "ok", found, fix: "" })
export const warning = (check: string, found: string, fix: string): Check => ({
  check,
  status: "warning",
  found,
  fix
})
export const failed = (check: string, found: string, fix: string): Check => ({
  check,
  status: "failed",
  found,
  fix
})

const NODE_MINIMUM = [20, 19] as const
const DISK_WARNING_BYTES = 2 * 1024 ** 3
const DISK_MINIMUM_BYTES = 256 * 1024 ** 2
const LOOP_WARNING_MILLIS = 50

/** `version` as `process.versions.node` has it. */
export const checkNode = (version: string): Check => {
  const [major, minor] = version.split(".").map(Number)
  const fits = major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1])
  return fits
    ? ok("node", `version ${version}`)
    : failed("node", `version ${version}`, `install Node ${NODE_MINIMUM.join(".")} or newer`)
}

/** How late timers fire while nothing else runs: a busy or throttled machine shows here. */
export const checkLoop: Effect.Effect<Check> = Effect.gen(function* () {
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  yield* Effect.sleep(Duration.millis(400))
  delay.disable()
  const late = Math.max(0, delay.percentile(99) / 1e6 - 5)
  const found = `timers up to ${late.toFixed(1)} ms late (p99)`
  return late <= LOOP_WARNING_MILLIS
    ? ok("clock", found)
    : warning(
        "clock",
        found,
        "the machine is busy or throttled: give the runner a core of its own, or raise its CPU limit"
      )
})

const nearestFolder = async (path: string): Promise<string> => {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined)
    if (found !== undefined) return at
    if (dirname(at) === at) return at
  }
}

/** The data folder: there or to be made, writable, with room. */
export const checkDataDir = (dataDir: string): Effect.Effect<Check> =>
  Effect.promise(async () => {
    const folder = await nearestFolder(dataDir)
    const made = folder === dataDir
    try {
      if (!(await stat(folder)).isDirectory())
        return failed("data folder", `${folder} is no folder`, "name another dataDir, or move the file away")
      await access(folder, constants.W_OK | constants.X_OK)
      if (made) {
        const probe = join(folder, `.doctor-${randomUUID()}`)
        await writeFile(probe, "", { flag: "wx" })
        await rm(probe)
      }
    } catch (cause) {
      return failed(
        "data folder",
        `${folder} can't be written (${(cause as Error).message})`,
        "give this user the folder (chown), or name another dataDir"
      )
    }
    const { bavail, bsize } = await statfs(folder)
    const free = bavail * bsize
    const found = `${dataDir}${made ? "" : " will be made"}, ${formatBytes(free)} free`
    if (free < DISK_MINIMUM_BYTES)
      return failed("data folder", found, "free some space, or name a dataDir on another disk")
    if (free < DISK_WARNING_BYTES)
      return warning(
        "data folder",
        found,
        "the embedded log keeps up to log.retainBytesMax: lower it, or make room"
      )
    return ok("data folder", found)
  })

/** The native SQLite opens a database, migrates it and answers. */
export const checkSqlite: Effect.Effect<Check> = Effect.gen(function* () {
  const { layerSqlite } = yield* Effect.promise(() => import("../runtime/Database.ts"))
  const { SqlClient } = yield* Effect.promise(() => import("@effect/sql"))
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "groundstate-doctor-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const version = yield* Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ readonly version: string }>`SELECT sqlite_version() AS version`
  ).pipe(
    Effect.provide(
      layerSqlite({ filename: join(folder, "doctor.db"), durability: "normal", busyTimeoutMillis: 1_000 })
    )
  )
  return ok("sqlite", `version ${version[0].version} opens and migrates a database`)
}).pipe(
  Effect.scoped,
  Effect.catchAllCause((cause) =>
    Effect.succeed(
      failed(
        "sqlite",
        `it does not open (${rootCause(firstOf(cause))})`,
        "install the dependencies again for this machine (`npm ci`); on Alpine use the glibc image"
      )
    )
  )
)

export const firstOf = (cause: Cause.Cause<unknown>): unknown => Cause.squash(cause)

/** ONNX Runtime loads and computes: 2 × 3 = 6 in a graph of one node. */
export const checkOnnx: Effect.Effect<Check> = Effect.tryPromise(async () => {
  const { GraphBuilder } = await import("../train/graph.ts")
  const { openSession } = await import("../train/session.ts")
  const ort = await import("onnxruntime-node")
  const graph = new GraphBuilder()
  const doubled = graph.binary("Mul", graph.input("rows", ["n"]), graph.constant([2], [1]))
  const session = await openSession(graph.serialize("doctor", [graph.output("doubled", doubled)]))
  const answer = await session.run({ rows: new ort.Tensor("float32", Float32Array.of(3), [1]) })
  await session.release()
  const value = (answer["doubled"].data as Float32Array)[0]
  if (value !== 6) throw new Error(`2 × 3 came out as ${value}`)
  return ok("onnxruntime", `version ${ort.env.versions.node ?? ort.env.versions.common} loads and scores`)
}).pipe(
  Effect.catchAll((error) =>
    Effect.succeed(
      failed(
        "onnxruntime",
        `it does not score (${rootCause(error)})`,
        "install the dependencies again for this machine (`npm ci`); without it baselines and rules still score"
      )
    )
  )
)

/** The brokers answer; the embedded log needs nothing but the data folder. */
export const checkLog = (settings: RunnerConfig): Effect.Effect<Check> => {
  const { kind, kafka } = settings.log
  if (kind === "embedded" || kafka === undefined)
    return Effect.succeed(ok("event log", "embedded, in the data folder"))
  const where = kafka.brokers.join(", ")
  return Effect.gen(function* () {
    const { KafkaLog } = yield* Effect.promise(() => import("../ingest/KafkaLog.ts"))
    const layer = KafkaLog.layer({
      brokers: kafka.brokers,
      clientId: `${kafka.clientId}-doctor`,
      ssl: kafka.tls,
      ...(kafka.sasl === undefined
        ? {}
        : {
            sasl: {
              mechanism: kafka.sasl.mechanism,
              username: kafka.sasl.username,
              password: Redacted.value(kafka.sasl.password)
            } as never
          })
    })
    yield* Effect.flatMap(EventLog, (log) => log.ping).pipe(Effect.provide(layer))
    return ok("event log", `Kafka at ${where} answers`)
  }).pipe(
    Effect.timeout("8 seconds"),
    Effect.catchAllCause((cause) =>
      Effect.succeed(
        failed(
          "event log",
          `Kafka at ${where} does not answer (${rootCause(firstOf(cause))})`,
          "check log.kafka.brokers, the network and the credentials"
        )
      )
    )
  )
}

const portTaken = (host: string, port: number): Effect.Effect<string | undefined> =>
  Effect.async((resume) => {
    const server = createServer()
    server.once("error", (error: NodeJS.ErrnoException) =>
      resume(Effect.succeed(error.code ?? error.message))
    )
    server.listen({ host, port, exclusive: true }, () =>
      server.close(() => resume(Effect.succeed(undefined)))
    )
  })

/** The body at an HTTPS address. Nothing is told and nothing believed but readiness: the certificate has its own check. */
const readHttps = (url: string): Effect.Effect<string, Error> =>
  Effect.async((resume) => {
    const asked = request(url, { rejectUnauthorized: false, agent: false }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => {
        text += chunk
      })
      response.once("error", (error) => resume(Effect.fail(error)))
      response.once("end", () => resume(Effect.succeed(text)))
    })
    asked.once("error", (error) => resume(Effect.fail(error)))
    asked.end()
    return Effect.sync(() => asked.destroy())
  })

const decodeReadiness = Schema.decodeUnknown(Schema.parseJson(ReadinessReport))

/** The port is free, or a runner answers there and says how ready it is. */
export const checkPort = (settings: RunnerConfig): Effect.Effect<Check, never, HttpClient.HttpClient> => {
  const { host, port, tls } = settings.http
  const where = `${host}:${port}`
  return Effect.gen(function* () {
    if (port === 0) return ok("http port", "a free one is picked at start")
    const taken = yield* portTaken(host, port)
    if (taken === undefined) return ok("http port", `${where} is free: no runner is up`)
    if (taken === "EACCES")
      return failed(
        "http port",
        `this user may not listen on ${where}`,
        "name a port from 1024 on (http.port)"
      )
    if (taken !== "EADDRINUSE")
      return failed(
        "http port",
        `${where} can't be used (${taken})`,
        "name an address of this machine (http.host)"
      )
    const client = yield* HttpClient.HttpClient
    const reach = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host
    const rest = `://${reach.includes(":") ? `[${reach}]` : reach}:${port}/readyz`
    const text: Effect.Effect<string, unknown> =
      tls === undefined
        ? Effect.scoped(Effect.flatMap(client.get(`http${rest}`), (response) => response.text))
        : readHttps(`https${rest}`)
    const report = yield* text.pipe(
      Effect.flatMap(decodeReadiness),
      Effect.timeout("3 seconds"),
      Effect.option
    )
    if (report._tag === "None")
      return failed("http port", `another program has ${where}`, "stop it, or name another port (http.port)")
    if (report.value.ready) return ok("http port", `a runner answers at ${where} and is ready`)
    const reasons = report.value.components
      .filter((part) => !part.ready)
      .map((part) => `${part.component}: ${part.reason ?? "not ready"}`)
    return warning(
      "http port",
      `a runner answers at ${where} and is not ready (${reasons.join("; ")})`,
      "see the runner's log; it becomes ready by itself once the part answers"
    )
  })
}
