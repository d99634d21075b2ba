// A real broker, a real runner and a real producer as processes of their own, pinned to cores where there are two:
// the runner (or whatever is compared with it) on core 0, broker, producer and the bench itself on core 1.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { type Kafka, kafkaAvailable, kafkaClassPath, startKafka } from "../test/support/kafka.ts"
import { flowsDefinition, writeFlowsModel } from "./flows.ts"

const program = fileURLToPath(new URL("../main.js", import.meta.url))
const root = fileURLToPath(new URL("../../", import.meta.url))
const clockTicks = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }))
const pins = cpus().length >= 2 && spawnSync("taskset", ["--version"]).status === 0

export const WORK_CORE = 0
export const OTHER_CORE = 1

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** The command and arguments that run it on one core; unchanged where there is nothing to pin to. */
export const pinned = (core: number, command: string, args: ReadonlyArray<string>) =>
  pins
    ? ({ command: "taskset", args: ["-c", String(core), command, ...args] } as const)
    : ({ command, args } as const)

const pin = (core: number, pid: number): void => {
  if (pins) spawnSync("taskset", ["-a", "-c", "-p", String(core), String(pid)], { stdio: "ignore" })
}

/** Puts the bench itself on a core: a consumer that is compared with the runner runs where the runner would. */
export const pinSelf = (core: number): void => pin(core, process.pid)

/** CPU seconds, user and system, that a process has used with all its threads. */
export const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")
  return (Number(fields[11]) + Number(fields[12])) / clockTicks
}

/** Resident memory of a process, bytes. */
export const residentBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1_024

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const exited = (child: ChildProcess) =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise<void>((resolve) => child.once("exit", () => resolve()))

const children = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

const launch = (core: number, command: string, args: ReadonlyArray<string>, log: string): ChildProcess => {
  const how = pinned(core, command, args)
  const file = openSync(log, "a")
  const child = spawn(how.command, how.args, { stdio: ["pipe", "pipe", file], cwd: root })
  children.add(child)
  child.once("exit", () => children.delete(child))
  return child
}

/** A broker on the other core, and this process too; undefined where no broker can be had. */
export const startBroker = async (settings: Readonly<Record<string, string>> = {}): Promise<Kafka> => {
  if (!kafkaAvailable())
    throw new Error("it needs Kafka: Java 17 and Maven (`apt-get install default-jdk-headless maven`)")
  pin(OTHER_CORE, process.pid)
  const kafka = await startKafka(settings)
  pin(OTHER_CORE, kafka.pid)
  return kafka
}

export interface CellLook {
  readonly partition: number
  readonly offset: number
  readonly endOffset: number
  readonly lag: number
  readonly devices: number
  readonly path: string
  readonly takeoverMillis: number
  readonly stateBytes: number
  readonly counters: { readonly scored: number; readonly alerts: number; readonly suppressed: number }
}

/** A runner's process. */
export interface Runner {
  readonly pid: number
  readonly url: string
  readonly get: <A>(path: string) => Promise<A>
  readonly cells: () => Promise<ReadonlyArray<CellLook>>
  /** Milliseconds from the start of the process until all cells were reading. */
  readonly startMillis: number
  /** SIGTERM, as an operator would: state is written. */
  readonly stop: () => Promise<void>
}

/** A bare HTTP server on the runner's core that answers each POST: what a request can cost at best. */
export const startEcho = async (): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> => {
  const child = launch(
    WORK_CORE,
    process.execPath,
    [fileURLToPath(new URL("./echoServer.js", import.meta.url))],
    "/dev/null"
  )
  const line = await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next()
  return {
    url: `http://127.0.0.1:${line.value}`,
    stop: async () => {
      child.kill("SIGTERM")
      await exited(child)
    }
  }
}

/** How busy each core is, 0 to 1, from the call until the answer is called: whether a measurement had the machine. */
export const watchCores = (): (() => ReadonlyArray<number>) => {
  const read = () =>
    cpus().map(({ times }) => ({ idle: times.idle, all: Object.values(times).reduce((a, b) => a + b, 0) }))
  const from = read()
  return () => read().map(({ idle, all }, core) => 1 - (idle - from[core].idle) / (all - from[core].all))
}

/** A runner's folder: configuration, stream definition, data. */
export interface Place {
  readonly folder: string
  readonly config: string
  readonly data: string
  readonly log: string
}

/** Writes a runner's configuration; JSON is YAML too. */
export const makePlace = (definition: unknown, settings: Readonly<Record<string, unknown>>): Place => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
  mkdirSync(join(folder, "streams"))
  writeFileSync(join(folder, "streams", "stream.yaml"), JSON.stringify(definition))
  const config = join(folder, "groundstate.yaml")
  writeFileSync(config, JSON.stringify({ dataDir: "./data", streams: ["streams/*.yaml"], ...settings }))
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  return { folder, config, data: join(folder, "data"), log: join(folder, "runner.log") }
}

/** Starts a runner and waits until every cell reads. */
export const startRunner = async (
  place: Place,
  cells: number,
  flags: ReadonlyArray<string> = []
): Promise<Runner> => {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const settings = JSON.parse(readFileSync(place.config, "utf8"))
  writeFileSync(place.config, JSON.stringify({ ...settings, http: { ...settings.http, port } }))
  const from = performance.now()
  const child = launch(
    WORK_CORE,
    process.execPath,
    [...flags, program, "run", "--config", place.config],
    place.log
  )
  child.stdout?.resume()
  const get = async <A>(path: string): Promise<A> => (await (await fetch(`${url}${path}`)).json()) as A
  const look = async () =>
    (await get<{ readonly items: ReadonlyArray<CellLook & { readonly paused: string | null }> }>("/v1/cells"))
      .items
  for (;;) {
    if (child.exitCode !== null || performance.now() - from > 120_000) {
      throw new Error(`the runner did not start: ${readFileSync(place.log, "utf8").slice(-1_500)}`)
    }
    const items = await look().catch(() => [])
    if (items.filter((cell) => cell.paused === null).length === cells) break
    await pause(20)
  }
  return {
    pid: child.pid as number,
    url,
    get,
    cells: look,
    startMillis: performance.now() - from,
    stop: async () => {
      child.kill("SIGTERM")
      await exited(child)
    }
  }
}

/** Puts the MLP into the runner's store and makes it the champion. */
export const activateModel = async (place: Place, runner: Runner): Promise<void> => {
  const model = join(place.folder, "model")
  await writeFlowsModel(model)
  const done = spawnSync(
    process.execPath,
    [
      program,
      "models",
      "register",
      model,
      "--config",
      place.config,
      "--stream",
      "flows",
      "--server",
      runner.url
    ],
    { encoding: "utf8" }
  )
  if (done.status !== 0) throw new Error(`the model was not activated: ${done.stderr}`)
}

/** The same place once more, with the data of the first: a state to start from again and again. */
export const copyPlace = (place: Place): Place => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
  cpSync(place.folder, folder, { recursive: true })
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  return {
    folder,
    config: join(folder, "groundstate.yaml"),
    data: join(folder, "data"),
    log: join(folder, "runner.log")
  }
}

export interface Sent {
  readonly sent: number
  readonly seconds: number
  readonly flushedSeconds: number
  /** How late the producer itself was at worst. */
  readonly behindMillis: number
}

/** FlowProducer as a process. */
export interface Producer {
  /** Sends `count` events, at `rate` a second if given; resolves when all are acknowledged. */
  readonly send: (count: number, rate?: number) => Promise<Sent>
  readonly stop: () => Promise<void>
}

export const startProducer = async (options: {
  readonly kafka: Kafka
  readonly topic: string
  /** Events a second; 0 is as fast as possible. */
  readonly rate: number
  readonly devices: number
  readonly alarmEvery: number
  readonly label: string
}): Promise<Producer> => {
  const source = join(root, "bench", "FlowProducer.java")
  const child = launch(
    OTHER_CORE,
    "java",
    [
      "-Xmx512m",
      "-XX:+UseSerialGC",
      // The optimizing compiler would take a quarter of the broker's core for as long as a measurement at a rate lasts.
      ...(options.rate === 0 ? [] : ["-XX:TieredStopAtLevel=1"]),
      "-cp",
      kafkaClassPath(),
      source,
      options.kafka.brokers.join(","),
      options.topic,
      String(options.rate),
      String(options.devices),
      String(options.alarmEvery),
      options.label
    ],
    "/dev/null"
  )
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const next = async (): Promise<Sent> => {
    const line = await lines.next()
    if (line.done === true) throw new Error("the producer ended")
    return JSON.parse(line.value)
  }
  await next()
  return {
    send: (count, rate) => {
      child.stdin?.write(`${count}${rate === undefined ? "" : ` ${rate}`}\n`)
      return next()
    },
    stop: async () => {
      child.stdin?.end()
      await exited(child)
    }
  }
}

/** A runner's settings on Kafka. */
export const onKafka = (kafka: Kafka) => ({
  log: { kind: "kafka", durability: "normal", kafka: { brokers: kafka.brokers } },
  telemetry: { logLevel: "warning" }
})

/** A place on Kafka whose cells have the MLP in force, stopped: topic made, nothing read. */
export const preparePlace = async (kafka: Kafka, topic: string, partitions: number): Promise<Place> => {
  const place = makePlace(flowsDefinition(topic, partitions), onKafka(kafka))
  const runner = await startRunner(place, partitions)
  await activateModel(place, runner)
  await runner.stop()
  return place
}
