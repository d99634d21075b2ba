// Labelled series of sensors and servers: SKAB and SMD, each file or server a device of one stream.
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import type { Prepared, StreamSuite } from "./detectionStreams.ts"
import { dataFile } from "./program.ts"
import {
  alarmRate,
  falseAlarmsWhereMissed,
  incidentsHit,
  incidentsOf,
  meanSquares,
  rankings,
  vusPr
} from "./rankings.ts"
import { write } from "./realKdd.ts"
import { median } from "./report.ts"

const rowsOf = (file: string, separator: string): ReadonlyArray<ReadonlyArray<string>> =>
  gunzipSync(readFileSync(file))
    .toString("utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(separator))

/** A stream of plain numbers v0, v1, … of devices that report side by side or one after the other. */
const streamOf = (name: string, width: number, budget: string): string =>
  [
    `stream: ${name}`,
    `source: { topic: ${name}, format: json, partitions: 1 }`,
    "identity: { device: device, time: ts }",
    "lateness: 7300d",
    "fields:",
    ...Array.from({ length: width }, (_, j) => `  v${j}: { type: number }`),
    "baseline: { halfLife: 1d, events: 700, spread: lasting }",
    `model: { name: ${name} }`,
    `alerts: { budget: ${budget}, quiet: 10m }`,
    ""
  ].join("\n")

const eventOf = (device: string, time: number, values: ReadonlyArray<number>): string =>
  `{"device":"${device}","ts":${time},${values.map((value, j) => `"v${j}":${value}`).join(",")}}`

const pick = <A>(values: ArrayLike<A>, rows: ReadonlyArray<number>): ReadonlyArray<A> =>
  rows.map((row) => values[row])

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length

// ---- SKAB: the first 400 rows of each file calibrate, the rest is judged, all files on one scale.

const SKAB_CALIBRATES = 400
const SKAB_SENSORS = 8
/** Share of anomalous rows missed where the published false alarm rate is read. */
const SKAB_MISSED = 0.28

const skabFigures = (scores: ArrayLike<number>, labels: ArrayLike<number>) => ({
  ap: rankings(scores, labels).ap,
  falseAlarms: falseAlarmsWhereMissed(scores, labels, SKAB_MISSED)
})

const prepareSkab = async (folder: string): Promise<ReadonlyArray<Prepared>> => {
  const source = dataFile("skab/valve1") as string
  const training: Array<string> = []
  const events: Array<string> = []
  const judged: Array<number> = []
  const labels: Array<number> = []
  const plain: Array<number> = []
  for (const file of readdirSync(source).sort()) {
    const rows = rowsOf(join(source, file), ";")
    const values = rows.map((cells) => cells.slice(1, 1 + SKAB_SENSORS).map(Number))
    plain.push(...meanSquares(values.slice(0, SKAB_CALIBRATES), values.slice(SKAB_CALIBRATES)))
    rows.forEach((cells, at) => {
      const event = eventOf(
        file.replace(".csv.gz", ""),
        Date.parse(`${cells[0].replace(" ", "T")}Z`),
        values[at]
      )
      if (at < SKAB_CALIBRATES) training.push(event)
      else {
        judged.push(events.length)
        labels.push(Number(cells[1 + SKAB_SENSORS]))
      }
      events.push(event)
    })
  }
  const stream = join(folder, "skab.yaml")
  writeFileSync(stream, streamOf("skab", SKAB_SENSORS, "1 in 100 events"))
  return [
    {
      name: "SKAB valve1",
      stream,
      training: await write(join(folder, "skab-training.jsonl"), undefined, training),
      input: await write(join(folder, "skab.jsonl"), undefined, events),
      events: events.length,
      judge: ({ energies }) => skabFigures(pick(energies, judged), labels),
      controls: [{ name: "mean z² recomputed", figures: skabFigures(plain, labels) }]
    }
  ]
}

export const skab: StreamSuite = {
  name: "skab",
  data: "skab/valve1",
  columns: [
    { key: "ap", name: "AP" },
    { key: "falseAlarms", name: "FA", less: true }
  ],
  peers: [
    { name: "mean z²", figures: { ap: 0.806, falseAlarms: 0.3 } },
    { name: "kNN (k = 5)", figures: { ap: 0.805, falseAlarms: 0.32 } },
    { name: "isolation forest", figures: { ap: 0.651, falseAlarms: 0.48 } }
  ],
  pass: { ap: 0.8, falseAlarms: 0.31 },
  strong: { ap: 0.83, falseAlarms: 0.25 },
  prepare: prepareSkab
}

// ---- SMD: six servers side by side, their training rows first; test rows are judged.

const SMD_METRICS = 38
const SMD_FROM = Date.UTC(2020, 0, 1)
const MINUTE = 60_000

interface Server {
  readonly rows: ReadonlyArray<number>
  readonly labels: ReadonlyArray<number>
}

const smdRankings = (servers: ReadonlyArray<Server>, scores: ArrayLike<number>) => ({
  ap: mean(servers.map(({ rows, labels }) => rankings(pick(scores, rows), labels).ap)),
  vus: mean(servers.map(({ rows, labels }) => vusPr(pick(scores, rows), labels))),
  fleet: rankings(
    servers.flatMap(({ rows }) => pick(scores, rows)),
    servers.flatMap(({ labels }) => labels)
  ).ap
})

const smdAlarms = (servers: ReadonlyArray<Server>, flags: ArrayLike<number>) => {
  const rates = servers.map(({ rows, labels }) => alarmRate(pick(flags, rows), labels))
  const incidents = servers.flatMap(({ labels }) => incidentsOf(labels)).length
  const hit = servers.reduce((sum, { rows, labels }) => sum + incidentsHit(pick(flags, rows), labels), 0)
  return { median: median(rates), worst: Math.max(...rates), hit: hit / incidents }
}

const prepareSmd = async (folder: string): Promise<ReadonlyArray<Prepared>> => {
  const source = dataFile("smd") as string
  const names = readdirSync(source)
    .filter((name) => name.endsWith(".train.csv.gz"))
    .map((name) => name.replace(".train.csv.gz", ""))
    .sort()
  const servers = names.map((name) => {
    const training = rowsOf(join(source, `${name}.train.csv.gz`), ",").map((cells) => cells.map(Number))
    const tested = rowsOf(join(source, `${name}.test.csv.gz`), ",").map((cells) => cells.map(Number))
    return {
      name,
      training,
      values: [...training, ...tested.map((row) => row.slice(0, SMD_METRICS))],
      labels: tested.map((row) => row[SMD_METRICS]),
      rows: [] as Array<number>
    }
  })
  const longest = Math.max(...servers.map(({ values }) => values.length))
  let events = 0
  function* all() {
    for (let minute = 0; minute < longest; minute++) {
      for (const { name, training, values, rows } of servers) {
        if (minute >= values.length) continue
        if (minute >= training.length) rows.push(events)
        events++
        yield eventOf(name, SMD_FROM + MINUTE * minute, values[minute])
      }
    }
  }
  function* first() {
    for (let minute = 0; minute < longest; minute++) {
      for (const { name, training } of servers) {
        if (minute < training.length) yield eventOf(name, SMD_FROM + MINUTE * minute, training[minute])
      }
    }
  }
  const stream = join(folder, "smd.yaml")
  writeFileSync(stream, streamOf("smd", SMD_METRICS, "1 in 100 events"))
  const input = await write(join(folder, "smd.jsonl"), undefined, all())
  const training = await write(join(folder, "smd-training.jsonl"), undefined, first())
  const plain = new Float64Array(events)
  for (const { training, values, rows } of servers) {
    meanSquares(training, values.slice(training.length)).forEach((score, at) => {
      plain[rows[at]] = score
    })
  }
  const judged: ReadonlyArray<Server> = servers.map(({ rows, labels }) => ({ rows, labels }))
  return [
    {
      name: "SMD",
      stream,
      training,
      input,
      events,
      judge: ({ energies, anomalous }) => ({
        ...smdRankings(judged, energies),
        ...smdAlarms(judged, anomalous)
      }),
      controls: [{ name: "mean z² recomputed", figures: smdRankings(judged, plain) }]
    }
  ]
}

export const smd: StreamSuite = {
  name: "smd",
  data: "smd",
  columns: [
    { key: "ap", name: "AP" },
    { key: "vus", name: "VUS-PR" },
    { key: "fleet", name: "fleet" },
    { key: "median", name: "median FA", less: true },
    { key: "worst", name: "worst FA", less: true },
    { key: "hit", name: "hit" }
  ],
  peers: [
    { name: "mean z²", figures: { ap: 0.263, vus: 0.23, fleet: 0.153 } },
    { name: "isolation forest", figures: { ap: 0.25, vus: 0.217, fleet: 0.163, worst: 0.028 } },
    { name: "Mahalanobis", figures: { ap: 0.233, vus: 0.218, fleet: 0.138 } },
    { name: "three energies, one-day residual", figures: { ap: 0.255, vus: 0.22, fleet: 0.135 } }
  ],
  pass: { ap: 0.25, vus: 0.22, fleet: 0.15, worst: 0.015, hit: 0.86 },
  strong: { ap: 0.3, vus: 0.27, fleet: 0.2, worst: 0.012, hit: 0.91 },
  prepare: prepareSmd
}
