// Question: what do a million devices cost: memory a device, the start of a runner with their state until every cell
// reads, one page of the directory, one device's page?

import { columnsBytes, ensureDevice, makeDeviceColumns } from "../src/services/state/columns.ts"
import { makeInterner } from "../src/services/state/interner.ts"
import { planOf } from "./flows.ts"
import {
  makePlace,
  onKafka,
  pause,
  type Runner,
  residentBytes,
  startBroker,
  startProducer,
  startRunner
} from "./live.ts"
import { median, type Question, quantile, type Row, round, summaryOf } from "./report.ts"

export const DEVICES = 1_000_000
export const PARTITIONS = 8
const LOOKS = 200
const PAGE = 100

/** Eight numbers and one window. */
export const definition = {
  stream: "flows",
  source: { topic: "flows", format: "json", partitions: PARTITIONS },
  identity: { device: "device", time: "ts", id: "id" },
  fields: Object.fromEntries(
    ["bytesIn", "bytesOut", "packetsIn", "packetsOut", "duration", "failed", "temp", "port"].map((name) => [
      name,
      { type: "number", scale: "log" }
    ])
  ),
  windows: [{ name: "count1m", over: "1m", count: true }]
}

const memory = (): Row => {
  const columns = makeDeviceColumns(planOf(definition))
  const interner = makeInterner()
  const id = new Uint8Array(16)
  const encoder = new TextEncoder()
  for (let device = 0; device < DEVICES; device++) {
    const { written } = encoder.encodeInto(`dev-${device}`, id)
    ensureDevice(columns, interner.intern(id, 0, written ?? 0))
  }
  const bytes = (columnsBytes(columns) + interner.memoryBytes()) / DEVICES
  return {
    question: "devices",
    what: "memory per device at a million, 8 numbers and 1 window",
    figure: round(bytes),
    unit: "B",
    goal: "≤ 200 B",
    met: bytes <= 200,
    detail: {
      columns: round(columnsBytes(columns) / DEVICES),
      names: round(interner.memoryBytes() / DEVICES)
    }
  }
}

const timed = async (runner: Runner, pathOf: (n: number) => string): Promise<ReadonlyArray<number>> => {
  const times: Array<number> = []
  for (let n = 0; n < LOOKS; n++) {
    const from = performance.now()
    await runner.get(pathOf(n))
    times.push(performance.now() - from)
  }
  return times
}

const START_GOAL = 5_000

export const devices: Question = async ({ rounds }) => {
  const rows: Array<Row> = [memory()]
  const kafka = await startBroker()
  try {
    const place = makePlace(definition, onKafka(kafka))
    const filling = await startRunner(place, PARTITIONS)
    const empty = residentBytes(filling.pid)
    const producer = await startProducer({
      kafka,
      topic: "flows",
      rate: 0,
      devices: DEVICES,
      alarmEvery: 0,
      label: "d"
    })
    await producer.send(DEVICES)
    await producer.stop()
    const taken = async (runner: Runner) => (await runner.cells()).reduce((sum, cell) => sum + cell.offset, 0)
    while ((await taken(filling)) < DEVICES) await pause(200)
    const grown = residentBytes(filling.pid) - empty
    await filling.stop()

    const starts: Array<number> = []
    const takeovers: Array<number> = []
    let runner = await startRunner(place, PARTITIONS)
    for (let turn = 1; ; turn++) {
      starts.push(runner.startMillis)
      const cells = await runner.cells()
      takeovers.push(Math.max(...cells.map((cell) => cell.takeoverMillis)))
      const known = cells.reduce((sum, cell) => sum + cell.devices, 0)
      if (known !== DEVICES) throw new Error(`${known} of ${DEVICES} devices came back`)
      if (turn >= Math.min(3, rounds)) break
      await runner.stop()
      runner = await startRunner(place, PARTITIONS)
    }
    const start = median(starts)
    rows.push({
      question: "devices",
      what: "start of a runner with a million devices in SQLite, to all cells reading",
      figure: round(start),
      unit: "ms",
      goal: `< ${START_GOAL} ms`,
      met: start < START_GOAL,
      detail: {
        rounds: starts.map(round),
        slowestCellMillis: takeovers.map(round),
        residentBytesPerDeviceAfterFilling: round(grown / DEVICES),
        residentMiB: round(residentBytes(runner.pid) / 1024 ** 2)
      }
    })

    let cursor = ""
    const listPath = () => `/v1/devices?stream=flows&limit=${PAGE}${cursor}`
    const lists: Array<number> = []
    for (let n = 0; n < LOOKS; n++) {
      const from = performance.now()
      const page = await runner.get<{ readonly next?: string | null; readonly cursor?: string | null }>(
        listPath()
      )
      lists.push(performance.now() - from)
      const next = page.next ?? page.cursor
      cursor = next === undefined || next === null ? "" : `&cursor=${encodeURIComponent(next)}`
    }
    const pages = await timed(runner, (n) => `/v1/devices/dev-${(n * 4_999) % DEVICES}?stream=flows`)
    await runner.stop()
    const page = (what: string, times: ReadonlyArray<number>, goal: number): Row => {
      const p99 = quantile(times, 0.99)
      return {
        question: "devices",
        what,
        figure: round(p99),
        unit: "ms",
        goal: `< ${goal} ms`,
        met: p99 < goal,
        detail: summaryOf(times)
      }
    }
    rows.push(page("device page at a million devices, p99", pages, 100))
    rows.push(page(`directory page of ${PAGE} at a million devices, p99`, lists, 50))
    return rows
  } finally {
    await kafka.stop()
  }
}
