// Question: what on paper is no plain arithmetic: takeovers after a host dies, a move on scale-out, the directory's age.
// node dist/bench/scale.js [--seed 1]: a seeded simulation of queues, no measurement of this machine; docs/scale.md
import { parseArgs } from "node:util"

const { values } = parseArgs({ options: { seed: { type: "string", default: "1" } } })

/** Numbers in (0, 1) from a seed (mulberry32). */
const seeded = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4_294_967_296
  }
}
const chance = seeded(Number(values.seed))
const spread = (mean: number) => mean * (0.5 + chance())
const exponential = (mean: number) => -mean * Math.log(chance())

/** One region's share: 1,000,000,000 devices over 20 regions. */
const DEVICES = 50_000_000
const PARTITIONS = [64, 512]
/** Stored bytes of a device: `bytesPerRow` of the core with 8 numbers and a window, name included. */
const STORED_BYTES = 200
/** Devices that a runner restores in a second: a million in 4.6 s (docs/figures.md), start of the process included. */
const RESTORED_PER_SECOND = 1_000_000 / 4.6
/** From the death to the claim, seconds, with a lock that expires after 4 s: 3.1 measured before; an assumption here. */
const NOTICED_SECONDS = 3.1

interface Load {
  readonly runners: number
  /** Cells to load, of so many in the region. */
  readonly cells: number
  readonly of: number
  /** Bytes a second that the store gives to all readers together. */
  readonly storeBytes: number
}

/** Seconds until each of the cells reads: the store is shared by all that load, a runner restores one after the other. */
const loads = ({ cells, of, runners, storeBytes }: Load): ReadonlyArray<number> => {
  const bytes = (DEVICES / of) * STORED_BYTES
  // The same cells, whatever else is asked.
  const share = seeded(Number(values.seed))
  const restoring = RESTORED_PER_SECOND * STORED_BYTES
  const queues = Array.from({ length: runners }, () => [] as Array<number>)
  for (let cell = 0; cell < cells; cell++) queues[cell % runners].push(bytes * (0.8 + 0.4 * share()))
  const done: Array<number> = []
  let now = NOTICED_SECONDS
  for (;;) {
    const busy = queues.filter((queue) => queue.length > 0)
    if (busy.length === 0) return done.sort((a, b) => a - b)
    const each = Math.min(restoring, storeBytes / busy.length)
    const step = Math.min(...busy.map((queue) => queue[0])) / each
    now += step
    for (const queue of busy) {
      queue[0] -= step * each
      if (queue[0] < 1) {
        queue.shift()
        done.push(now)
      }
    }
  }
}

const ALERT_BATCH = 32
/** Seconds that a batch of alerts holds the one sequence row: a commit and 0.1 ms an alert. An assumption. */
const batchSeconds = (alerts: number) => spread(0.005) + 0.0001 * alerts

/** Ages of alerts when they stand in the directory: one writer at a time in a region, batches of what waits. */
const ages = (perSecond: number, seconds: number): ReadonlyArray<number> => {
  const arrivals: Array<number> = []
  for (let at = exponential(1 / perSecond); at < seconds; at += exponential(1 / perSecond)) arrivals.push(at)
  const found: Array<number> = []
  let free = 0
  for (let i = 0; i < arrivals.length; ) {
    const begin = Math.max(free, arrivals[i])
    let to = i
    while (to < arrivals.length && to - i < ALERT_BATCH && arrivals[to] <= begin) to++
    free = begin + batchSeconds(to - i)
    for (; i < to; i++) found.push(free - arrivals[i])
  }
  return found.sort((a, b) => a - b)
}

const at = (sorted: ReadonlyArray<number>, q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]
const line = (...cells: ReadonlyArray<string | number>) =>
  process.stdout.write(`${cells.map((cell) => String(cell).padStart(14)).join("")}\n`)

process.stdout.write(`One region: ${DEVICES / 1e6} million devices; seed ${values.seed}\n\n`)
process.stdout.write("A host with 4 runners dies: seconds from its death until its cells read again\n")
line("cells", "runners", "moved", "store MB/s", "median s", "last s")
for (const of of PARTITIONS) {
  for (const runners of [8, 16, 32, 64]) {
    for (const megabytes of [200, 1_000]) {
      const cells = Math.round((of * 4) / runners)
      const times = loads({ runners: runners - 4, cells, of, storeBytes: megabytes * 1e6 })
      line(of, runners, cells, megabytes, at(times, 0.5).toFixed(1), at(times, 1).toFixed(1))
    }
  }
}
process.stdout.write(
  "\nRunners are added: those that are new load the cells that they take over, one after the other\n"
)
line("cells", "from", "to", "moved", "GB moved", "last s")
for (const of of PARTITIONS) {
  for (const [from, to] of [
    [32, 33],
    [32, 48],
    [32, 64]
  ]) {
    const cells = Math.round(of * (1 - from / to))
    const times = loads({ runners: to - from, cells, of, storeBytes: 1e9 })
    const gigabytes = (cells * (DEVICES / of) * STORED_BYTES) / 1e9
    line(of, from, to, cells, gigabytes.toFixed(1), (at(times, 1) - NOTICED_SECONDS).toFixed(1))
  }
}
process.stdout.write("\nThe directory: age of an alert when it is listed, one writer at a time, after 60 s\n")
line("alerts/s", "median ms", "p99 ms")
for (const rate of [50, 500, 2_000, 3_500, 4_500]) {
  const found = ages(rate, 60)
  line(rate, (at(found, 0.5) * 1e3).toFixed(1), (at(found, 0.99) * 1e3).toFixed(1))
}
