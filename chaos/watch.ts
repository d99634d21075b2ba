// Looks at a region all the while: how far each cell is, what memory each runner holds, whether the machine itself stood
// still. Where nothing moves for too long it writes down what there is to see and ends the run.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import type { RegionWorld } from "../test/support/region.ts"
import type { RunnerProcess, Told } from "../test/support/runner.ts"
import { type History, now } from "./history.ts"

const LOOK_MILLIS = 250
const TICK_MILLIS = 50
/** A timer that comes so much too late was not late by itself. */
const STALL_MILLIS = 1_500
const ASK_MILLIS = 2_000
/** Nothing processed for so long, beyond what a fault was announced to last: the run is over. */
const STILL_MILLIS = 60_000
/** As the runner's stacks are asked for: see `reportOptions`. */
const STACK_SIGNAL = "SIGUSR2"

export interface Sample {
  readonly at: number
  /** Sum over the cells; −1 where no runner answered. */
  readonly offset: number
  readonly lag: number
  readonly oldestSeconds: number
  readonly paused: number
}

export interface MemorySample {
  readonly at: number
  readonly runner: string
  readonly pid: number
  readonly bytes: number
}

export interface Watch {
  readonly samples: ReadonlyArray<Sample>
  readonly memory: ReadonlyArray<MemorySample>
  /** Times in which this process, and so the machine, stood still, epoch ms: what they cover says nothing of a region. */
  readonly stalls: ReadonlyArray<{ readonly from: number; readonly to: number }>
  /** Nothing need move for so long from now. */
  readonly expectStill: (millis: number) => void
  /** Fails when nothing moves. */
  readonly broken: Promise<never>
  readonly stop: () => void
}

/** What a runner must be started with so that a signal makes it write its stacks. */
export const reportOptions = (folder: string): string =>
  `--report-on-signal --report-signal=${STACK_SIGNAL} --report-compact --report-directory=${folder}`

export const ask = async (runner: RunnerProcess, path: string): Promise<Told> => {
  const response = await fetch(runner.url + path, { signal: AbortSignal.timeout(ASK_MILLIS) })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text.slice(0, 300)}`)
  return path.startsWith("/v1/") ? JSON.parse(text) : text
}

/** One letter of a process's state as the system has it: T is stopped. */
export const processState = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1][0]
  } catch {
    return "gone"
  }
}

const residentBytes = (pid: number): number => {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1_024
  } catch {
    return 0
  }
}

/** The cells as any runner that answers sees them; undefined where none does. */
export const cellsOf = async (region: RegionWorld): Promise<Told | undefined> => {
  for (const runner of region.runners.values()) {
    if (!runner.running() || processState(runner.pid) === "T") continue
    try {
      return await ask(runner, "/v1/cells")
    } catch {
      // The next one may know.
    }
  }
  return undefined
}

const tried = async (what: () => Promise<unknown>): Promise<unknown> => {
  try {
    return await what()
  } catch (cause) {
    return `not to be had: ${String(cause)}`
  }
}

const reportsIn = (folder: string) => (existsSync(folder) ? readdirSync(folder) : [])

/** Everything that helps to see why a region does not move, as one file; answers its path. */
export const diagnose = async (region: RegionWorld, folder: string, reason: string): Promise<string> => {
  mkdirSync(folder, { recursive: true })
  const runners: Record<string, unknown> = {}
  for (const [name, runner] of region.runners) {
    const alive = runner.running()
    if (alive && processState(runner.pid) !== "T") process.kill(runner.pid, STACK_SIGNAL)
    runners[name] = {
      pid: runner.pid,
      running: alive,
      state: alive ? processState(runner.pid) : "gone",
      ready: alive ? await tried(() => ask(runner, "/readyz")) : undefined,
      cells: alive ? await tried(() => ask(runner, "/v1/cells")) : undefined,
      said: runner.said().slice(-8_000)
    }
  }
  const admin = new KafkaJs({
    brokers: [...region.kafka.brokers],
    logLevel: logLevel.NOTHING,
    retry: { retries: 1 }
  }).admin()
  const offsets = await tried(async () => {
    await admin.connect()
    const topics = (await admin.listTopics()).filter((topic) => !topic.startsWith("__"))
    return Object.fromEntries(
      await Promise.all(topics.map(async (topic) => [topic, await admin.fetchTopicOffsets(topic)]))
    )
  })
  await admin.disconnect().catch(() => undefined)
  const database = (text: string) => tried(() => region.postgres.query(region.database, text))
  const path = join(folder, "diagnosis.json")
  const told = {
    reason,
    runners,
    offsets,
    activity: await database(
      `SELECT application_name, state, wait_event_type, wait_event, (now() - state_change)::text, left(query, 200)
       FROM pg_stat_activity WHERE datname = current_database()`
    ),
    locks: await database(
      "SELECT pid::text, locktype, mode, granted::text, objid::text FROM pg_locks WHERE locktype = 'advisory'"
    ),
    epochs: await database("SELECT stream, partition_id::text, epoch::text, owner FROM cell_epoch"),
    stacks: reportsIn(folder).filter((file) => file.startsWith("report."))
  }
  writeFileSync(path, `${JSON.stringify(told, null, 1)}\n`)
  return path
}

export const startWatch = (region: RegionWorld, history: History, folder: string): Watch => {
  const samples: Array<Sample> = []
  const memory: Array<MemorySample> = []
  let stopped = false
  const stalls: Array<{ readonly from: number; readonly to: number }> = []
  let last = now()
  /** For how long nothing has moved while this process ran, ms; below zero where that is expected. */
  let still = 0
  const ticking = setInterval(() => {
    const at = now()
    if (at - last > STALL_MILLIS) stalls.push({ from: last, to: at })
    last = at
    still += TICK_MILLIS
  }, TICK_MILLIS)
  let furthest = -1
  let fail: (cause: Error) => void = () => undefined
  const broken = new Promise<never>((_, reject) => {
    fail = reject
  })
  broken.catch(() => undefined)

  const look = async () => {
    const at = now()
    const told = await cellsOf(region)
    const items: ReadonlyArray<Told> = told?.items ?? []
    const sum = (of: (cell: Told) => number) => items.reduce((total, cell) => total + of(cell), 0)
    const sample: Sample = {
      at,
      offset: told === undefined ? -1 : sum((cell) => cell.offset),
      lag: sum((cell) => cell.lag),
      oldestSeconds: items.reduce((oldest, cell) => Math.max(oldest, cell.oldestEventAgeSeconds), 0),
      paused: items.filter((cell) => cell.paused !== null).length
    }
    samples.push(sample)
    history.write("look", { ...sample, unreachable: told?.unreachable?.length })
    for (const [name, runner] of region.runners) {
      if (runner.running())
        memory.push({ at, runner: name, pid: runner.pid, bytes: residentBytes(runner.pid) })
    }
    if (sample.offset > furthest) {
      furthest = sample.offset
      still = Math.min(still, 0)
    }
    if (still > STILL_MILLIS) {
      stopped = true
      const path = await diagnose(region, folder, `nothing was processed for ${STILL_MILLIS} ms`)
      fail(new Error(`nothing was processed for ${STILL_MILLIS} ms; what there was to see: ${path}`))
    }
  }
  void (async () => {
    while (!stopped) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, LOOK_MILLIS))
    }
  })().catch(fail)

  return {
    samples,
    memory,
    stalls,
    expectStill: (millis) => {
      still = -millis
    },
    broken,
    stop: () => {
      stopped = true
      clearInterval(ticking)
    }
  }
}
