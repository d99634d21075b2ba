// The database and the broker go away, stand still, or refuse. F6 F7 F8.
import { readdirSync, readFileSync } from "node:fs"
import type { Told } from "../../test/support/runner.ts"
import type { RegionScenario } from "../scenario.ts"
import { PARTITIONS, type Stage } from "../stage.ts"
import { cellsOf } from "../watch.ts"

export const everyPartition = Array.from({ length: PARTITIONS }, (_, partition) => partition)

/** Waits until every runner that lives says that it is not ready. */
const unready = (stage: Stage, because: string) =>
  stage.observe(`every runner says that it is not ready: ${because}`, async () => {
    for (const runner of stage.region.runners.values()) {
      if (!runner.running()) continue
      const answer = await fetch(`${runner.url}/readyz`, { signal: AbortSignal.timeout(2_000) })
      const body = await answer.text()
      if (answer.status !== 503 || !body.includes(because)) return undefined
    }
    return true
  })

/** Remembers who lives; called later, it tells who has ended since. */
const livesOn = (stage: Stage) => {
  const living = [...stage.region.runners].filter(([, runner]) => runner.running())
  return () => {
    for (const [name, runner] of living) {
      if (!runner.running()) stage.blame(`runner ${name} ended by itself: ${runner.said().slice(-300)}`)
    }
  }
}

/** Connections that the tests' PostgreSQL allows. */
const CONNECTIONS = 200

export const database: RegionScenario = {
  kind: "region",
  id: "F7",
  name: "database",
  about:
    "PostgreSQL stops at once for a while; then its locks' sessions are ended; then its connections are used up",
  invariants: "I1 I2 I9",
  play: async (stage) => {
    const { postgres } = stage.region
    const stillRunning = livesOn(stage)
    for (const seconds of stage.by({ short: [5], usual: [10, 30], long: [10, 30, 60] })) {
      const fault = `PostgreSQL stopped for ${seconds} s`
      await stage.inject(fault, postgres.kill)
      await unready(stage, "database")
      await stage.last(seconds * 1_000)
      await postgres.restart()
      const at = Date.now()
      await stage.recovered({ what: fault, at, partitions: everyPartition, within: 10_000 })
      stillRunning()
      await stage.settled()
    }
    let ended = 0
    const fault = "sessions that hold locks ended"
    const at = await stage.inject(fault, async () => {
      const rows = await postgres.query(
        stage.region.database,
        `SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory') held`
      )
      ended = rows.length
    })
    await stage.observe("sessions had locks", async () => (ended > 0 ? true : undefined))
    await stage.recovered({ what: fault, at, partitions: everyPartition, within: 10_000 })
    stillRunning()
    await stage.settled()
    if (stage.length === "short") return
    const hold = stage.by({ short: 0, usual: 5, long: 20 })
    let sleeping: ReadonlyArray<Promise<unknown>> = []
    const full = await stage.inject(`connections used up for ${hold} s`, () => {
      sleeping = Array.from({ length: CONNECTIONS }, () =>
        postgres.query(stage.region.database, `SELECT pg_sleep(${hold})`).catch(() => undefined)
      )
    })
    await stage.observe("the database takes no more connections", () =>
      postgres.query(stage.region.database, "SELECT 1").then(
        () => undefined,
        (cause) => (String(cause).includes("too many clients") ? true : undefined)
      )
    )
    await Promise.all(sleeping)
    await stage.recovered({
      what: "connections used up",
      at: full,
      partitions: everyPartition,
      within: 60_000
    })
    stillRunning()
  }
}

/** A process and those that it started. */
const family = (pid: number): ReadonlyArray<number> => [
  pid,
  ...readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ")[1].split(" ")[1]) === pid
      } catch {
        return false
      }
    })
    .map(Number)
]

const signalAll = (pids: ReadonlyArray<number>, signal: NodeJS.Signals) => {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It has ended meanwhile.
    }
  }
}

export const frozenDatabase: RegionScenario = {
  kind: "region",
  id: "F8",
  name: "frozen-database",
  about: "SIGSTOP to PostgreSQL and all its processes, then SIGCONT",
  invariants: "I1",
  play: async (stage) => {
    const stillRunning = livesOn(stage)
    const seconds = stage.by({ short: 8, usual: 15, long: 30 })
    const fault = `PostgreSQL frozen for ${seconds} s`
    let stopped: ReadonlyArray<number> = []
    await stage.inject(fault, () => {
      stopped = family(stage.region.postgres.pid())
      signalAll(stopped, "SIGSTOP")
    })
    try {
      const begun = performance.now()
      await unready(stage, "database")
      // Calls end, and the loop is free meanwhile.
      for (const runner of stage.region.runners.values()) {
        const from = performance.now()
        const alive = await fetch(`${runner.url}/livez`, { signal: AbortSignal.timeout(5_000) })
        await alive.text()
        if (performance.now() - from > 1_000)
          stage.blame(
            `F8: /livez took ${Math.round(performance.now() - from)} ms while the database was frozen`
          )
        const asked = performance.now()
        const list = await fetch(`${runner.url}/v1/alerts`, { signal: AbortSignal.timeout(15_000) }).then(
          async (answer) => {
            await answer.text()
            return answer.status
          },
          (cause) => String(cause)
        )
        const took = Math.round(performance.now() - asked)
        if (took > 6_500) stage.blame(`F8: a call that needs the database took ${took} ms (${list})`)
      }
      await stage.last(Math.max(0, seconds * 1_000 - (performance.now() - begun)))
    } finally {
      signalAll(stopped, "SIGCONT")
    }
    await stage.recovered({ what: fault, at: Date.now(), partitions: everyPartition, within: 10_000 })
    stillRunning()
  }
}

export const broker: RegionScenario = {
  kind: "region",
  id: "F6",
  name: "broker",
  about: "SIGKILL to the one Kafka broker, started again after a while",
  invariants: "I1 I3 I4",
  play: async (stage) => {
    const { kafka } = stage.region
    const stillRunning = livesOn(stage)
    for (const seconds of stage.by({ short: [5], usual: [10, 30], long: [10, 30] })) {
      const fault = `Kafka killed for ${seconds} s`
      const before = stage.load.unknown()
      await stage.inject(fault, kafka.kill9)
      await stage.observe("the load gets no answers", async () =>
        stage.load.unknown() > before ? true : undefined
      )
      await stage.observe("cells say that they wait for the log", async () => {
        const told = await cellsOf(stage.region)
        const waiting = (cell: Told) =>
          cell.paused === "log-unavailable" || cell.paused === "alerts-undelivered"
        return told?.items.some(waiting) ? true : undefined
      })
      await stage.last(seconds * 1_000)
      await kafka.restart()
      await stage.recovered({ what: fault, at: Date.now(), partitions: everyPartition, within: 60_000 })
      stillRunning()
      await stage.settled()
    }
  }
}
