// A real Kafka broker for tests and benches: one process, one folder, ports of its own. Java and Maven needed.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Kafka as KafkaJs, logLevel } from "kafkajs"

const VERSION = "4.1.0"
/** The repository, found from where this file lies: `test/support`, or `dist/bench/..` when it was emitted. */
const root = (() => {
  let folder = fileURLToPath(new URL(".", import.meta.url))
  while (!existsSync(join(folder, "package-lock.json")) && folder !== "/") folder = join(folder, "..")
  return folder
})()
const cache = join(root, ".cache", `kafka-${VERSION}`)
const jars = join(cache, "lib")

export interface Kafka {
  readonly brokers: ReadonlyArray<string>
  /** Where relays pass on to. */
  readonly relayed: ReadonlyArray<number>
  readonly pid: number
  /** Ends the broker in order and removes its folder. */
  readonly stop: () => Promise<void>
  /** SIGKILL; `restart` brings it back on the same ports with the same data. */
  readonly kill9: () => Promise<void>
  readonly restart: () => Promise<void>
}

/** What to say where no broker can be had. */
export const howToGetKafka =
  "Kafka tests need Java 17 and Maven: `apt-get install -y default-jdk-headless maven`; then run the tests again."

const runs = (command: string, args: ReadonlyArray<string>) =>
  spawnSync(command, args, { stdio: "ignore" }).status === 0

let available: boolean | undefined

/**
 * True where a broker can be started. Fetches its jars the first time (54 MB, about 20 s). With CI=true a
 * missing tool is an error, so that no Kafka test is skipped unseen.
 */
export const kafkaAvailable = (): boolean => {
  if (available !== undefined) return available
  available = runs("java", ["-version"]) && (existsSync(jars) || (runs("mvn", ["-version"]) && fetchJars()))
  if (!available && process.env["CI"] === "true") throw new Error(howToGetKafka)
  if (!available) process.stderr.write(`skipped: ${howToGetKafka}\n`)
  return available
}

const dependency = (artifact: string) =>
  `<dependency><groupId>org.apache.kafka</groupId><artifactId>${artifact}</artifactId><version>${VERSION}</version></dependency>`

const fetchJars = (): boolean => {
  const folder = join(cache, `fetch-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, "pom.xml"),
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>` +
      `<groupId>groundstate</groupId><artifactId>broker</artifactId><version>1</version>` +
      `<dependencies>${dependency("kafka_2.13")}${dependency("kafka-tools")}</dependencies></project>`
  )
  const done = spawnSync("mvn", ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"]
  })
  // Several test processes may fetch at the same time: the first whole folder wins.
  if (done.status === 0 && !existsSync(jars)) {
    try {
      renameSync(join(folder, "lib"), jars)
    } catch {
      // Another process was first.
    }
  }
  rmSync(folder, { recursive: true, force: true })
  return existsSync(jars)
}

/** Class path of the broker and its tools, for `java -cp`. */
export const kafkaClassPath = (): string => join(jars, "*")

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** True once the broker tells its cluster; an open port alone comes too early. */
const answers = async (port: number): Promise<boolean> => {
  const admin = new KafkaJs({
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    retry: { retries: 0 }
  }).admin()
  try {
    await admin.connect()
    return (await admin.describeCluster()).brokers.length === 1
  } catch {
    return false
  } finally {
    await admin.disconnect().catch(() => undefined)
  }
}

const exited = (child: ChildProcess) =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise<void>((resolve) => child.once("exit", () => resolve()))

/**
 * Starts a broker in an empty folder and waits until it serves; about 2 s. `settings` are broker properties. `relays`
 * are ports of others that pass on what comes to `relayed`, in the same order: who asks there is told these addresses.
 */
export const startKafka = async (
  settings: Readonly<Record<string, string>> = {},
  relays: ReadonlyArray<number> = []
): Promise<Kafka> => {
  if (!kafkaAvailable()) throw new Error(howToGetKafka)
  const folder = mkdtempSync(join(tmpdir(), "groundstate-kafka-"))
  const [port, controllerPort] = [await freePort(), await freePort()]
  const relayed = await Promise.all(relays.map(freePort))
  const named = (ports: ReadonlyArray<number>) =>
    ports.map((one, i) => `,RELAY${i}://127.0.0.1:${one}`).join("")
  const properties = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}${named(relayed)}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}${named(relays)}`,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": ["PLAINTEXT", "CONTROLLER", ...relays.map((_, i) => `RELAY${i}`)]
      .map((name) => `${name}:PLAINTEXT`)
      .join(","),
    "inter.broker.listener.name": "PLAINTEXT",
    "log.dirs": join(folder, "data"),
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "log.cleaner.dedupe.buffer.size": "2097152",
    ...settings
  }
  const file = join(folder, "server.properties")
  writeFileSync(
    file,
    Object.entries(properties)
      .map(([key, value]) => `${key}=${value}\n`)
      .join("")
  )
  const java = (heap: string, ...args: ReadonlyArray<string>) => [
    heap,
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-cp",
    kafkaClassPath(),
    ...args
  ]
  execFileSync(
    "java",
    java("-Xmx128m", "kafka.tools.StorageTool", "format", "-t", "Z3JvdW5kc3RhdGUtdGVzdA", "-c", file),
    { stdio: "ignore" }
  )
  const log = join(folder, "broker.log")
  let child: ChildProcess

  const launch = async () => {
    writeFileSync(log, "")
    child = spawn(
      "sh",
      [
        "-c",
        'log="$1"; shift; exec java "$@" > "$log" 2>&1',
        "sh",
        log,
        ...java("-Xmx512m", "kafka.Kafka", file)
      ],
      {
        stdio: "ignore"
      }
    )
    const deadline = performance.now() + 60_000
    while (!(await answers(port))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        child.kill("SIGKILL")
        throw new Error(`the Kafka broker did not start:\n${readFileSync(log, "utf8").slice(-2_000)}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    await exited(child)
  }
  // A test process that dies must not leave its broker behind.
  const atExit = () => child.kill("SIGKILL")
  await launch()
  process.once("exit", atExit)
  return {
    brokers: [`127.0.0.1:${port}`],
    relayed,
    get pid() {
      return child.pid ?? -1
    },
    stop: async () => {
      process.removeListener("exit", atExit)
      // Nothing in the folder is wanted any more, so there is nothing to end in order.
      await end("SIGKILL")
      rmSync(folder, { recursive: true, force: true })
    },
    kill9: () => end("SIGKILL"),
    restart: launch
  }
}
