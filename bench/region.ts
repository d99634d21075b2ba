// Question: a million devices over three runners: what does a region score at most, with three runners and with one;
// bytes a device; what goes to the database; and how long do pages take at 20,000 events a second? Real processes, one
// Kafka and one PostgreSQL, all on this machine: the runners share its cores with both.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { divided, type RegionWorld, startRegion } from "../test/support/region.ts"
import type { RunnerProcess, Told } from "../test/support/runner.ts"
import { DEVICES, definition, PARTITIONS } from "./devices.ts"
import { pause, residentBytes, startProducer } from "./live.ts"
import { type Question, quantile, type Row, round, summaryOf } from "./report.ts"

const NAMES = ["a", "b", "c"]
/** What comes at once where throughput is measured: the producer and the broker take their part of the cores. */
const BURST = 3_000_000
/** An hour's worth of events at 5,000 a second. */
const HOUR = 18_000_000
const CHUNK = 500_000
const RATE = 20_000
const RATE_SECONDS = 30
const LOOK_EVERY_MILLIS = 60
const PAGE = 100

/** What the cells have taken; NaN while not all of them answer. */
const offsetsOf = async (region: RegionWorld): Promise<number> => {
  for (const runner of region.runners.values()) {
    if (!runner.running()) continue
    // One that starts does not listen yet.
    const { body } = await runner
      .ask("GET", "/v1/cells")
      .catch(() => ({ body: { unreachable: [runner.url], items: [] } as Told }))
    if (body.unreachable.length > 0 || body.items.length < PARTITIONS) break
    return (body.items as ReadonlyArray<Told>).reduce((sum, { offset }) => sum + offset, 0)
  }
  return Number.NaN
}

const reached = async (region: RegionWorld, offset: number): Promise<void> => {
  while (!((await offsetsOf(region)) >= offset)) await pause(100)
}

const started = async (region: RegionWorld, names: ReadonlyArray<string>) => {
  for (const name of names) await region.start(name)
  for (const name of names) await region.runners.get(name)?.ready()
}

const stopped = async (region: RegionWorld) => {
  await Promise.all([...region.runners.values()].filter((one) => one.running()).map((one) => one.stop()))
}

const databaseNumber = async (region: RegionWorld, sql: string): Promise<number> =>
  Number((await region.postgres.query(region.database, sql))[0][0])

export const region: Question = async () => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-region-bench-"))
  const world = await startRegion({
    folder,
    stream: definition,
    brokerSettings: {
      "log.retention.bytes": String(512 * 1024 ** 2),
      "log.segment.bytes": String(64 * 1024 ** 2),
      "log.retention.check.interval.ms": "5000",
      "log.segment.delete.delay.ms": "1000"
    }
  })
  try {
    await started(world, NAMES)
    const alive = () => [...world.runners.values()].filter((one) => one.running())
    const resident = () => alive().reduce((sum, { pid }) => sum + residentBytes(pid), 0)
    const empty = resident()
    const fast = await startProducer({
      kafka: world.kafka,
      topic: "flows",
      rate: 0,
      devices: DEVICES,
      alarmEvery: 0,
      label: "d"
    })
    let sent = 0
    const send = async (count: number) => {
      await fast.send(count)
      sent += count
    }
    await send(DEVICES)
    await reached(world, sent)
    const perDevice = (resident() - empty) / DEVICES

    const rates: Array<number> = []
    for (const names of [NAMES, NAMES.slice(0, 1)]) {
      await stopped(world)
      await started(world, names)
      await divided(world.runners.get("a") as RunnerProcess, names.length === 1 ? [8] : [3, 3, 2], 120_000)
      const from = performance.now()
      await send(BURST)
      await reached(world, sent)
      rates.push(BURST / ((performance.now() - from) / 1_000))
    }
    const [three, one] = rates
    await started(world, NAMES.slice(1))
    await divided(world.runners.get("a") as RunnerProcess, [3, 3, 2], 120_000)

    const hourFrom = sent
    const walBefore = await databaseNumber(world, "SELECT wal_bytes FROM pg_stat_wal")
    const hourBegun = performance.now()
    while (sent < hourFrom + HOUR) {
      await send(CHUNK)
      // No further ahead than the broker keeps.
      await reached(world, sent - CHUNK)
    }
    await reached(world, sent)
    const hourSeconds = (performance.now() - hourBegun) / 1_000
    const wal = (await databaseNumber(world, "SELECT wal_bytes FROM pg_stat_wal")) - walBefore
    const size = await databaseNumber(world, "SELECT pg_database_size(current_database())")
    await fast.stop()

    const steady = await startProducer({
      kafka: world.kafka,
      topic: "flows",
      rate: RATE,
      devices: DEVICES,
      alarmEvery: RATE,
      label: "s"
    })
    const lists: Array<number> = []
    const pages: Array<number> = []
    const walQuiet = await databaseNumber(world, "SELECT wal_bytes FROM pg_stat_wal")
    const sending = steady.send(RATE * RATE_SECONDS, RATE)
    let over = false
    void sending.then(() => {
      over = true
    })
    let cursor = ""
    for (let n = 0; !over; n++) {
      const runner = alive()[n % NAMES.length]
      const from = performance.now()
      const { body } = await runner.ask("GET", `/v1/devices?stream=flows&limit=${PAGE}${cursor}`)
      lists.push(performance.now() - from)
      cursor = typeof body.next === "string" ? `&cursor=${encodeURIComponent(body.next)}` : ""
      const then = performance.now()
      await runner.ask("GET", `/v1/devices/dev-${(n * 4_999) % DEVICES}?stream=flows`)
      pages.push(performance.now() - then)
      await pause(LOOK_EVERY_MILLIS)
    }
    await sending
    const walRate =
      ((await databaseNumber(world, "SELECT wal_bytes FROM pg_stat_wal")) - walQuiet) / RATE_SECONDS
    await steady.stop()
    const row = (what: string, figure: number, unit: string, rest: Partial<Row> = {}): Row => ({
      question: "region",
      what,
      figure: round(figure),
      unit,
      ...rest
    })
    const timed = (what: string, times: ReadonlyArray<number>, goal: number): Row =>
      row(what, quantile(times, 0.99), "ms", {
        goal: `< ${goal} ms`,
        met: quantile(times, 0.99) < goal,
        detail: summaryOf(times)
      })
    return [
      row("three runners, a million devices, 3 million events at once", three, "events/s", {
        limit: round(one),
        limitIs: "one runner, the same",
        ratio: round(three / one)
      }),
      row("resident bytes per device over three runners", perDevice, "B"),
      row("database after an hour's worth of events (18 million)", size / 1024 ** 2, "MiB", {
        detail: { devices: DEVICES, seconds: round(hourSeconds), walMiB: round(wal / 1024 ** 2) }
      }),
      row(`written by checkpoints at ${RATE} events/s (write-ahead log)`, walRate / 1024 ** 2, "MiB/s"),
      timed(`directory page of ${PAGE} at ${RATE} events/s, p99`, lists, 50),
      timed(`device page at ${RATE} events/s, p99`, pages, 100)
    ]
  } finally {
    await world.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
