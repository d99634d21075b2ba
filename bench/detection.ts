// How well does the product detect? Labelled tables through `train` and `evaluate`, labelled series and streams through
// the cell, beside what others reach on them.
// node dist/bench/detection.js [--suite adbench,skab,…] [--seeds 11,12,13] [--only mnist,skin] [--trim 0]
//   [--ways baselines,fast,full] [--json FILE] [--keep FILE]; tables take --only and --trim, series and streams --ways.
// --keep stores each table's figures as soon as they are there, a line of JSON each, and takes those already stored
// instead of computing them again, so that a bench that was broken off goes on.
// Where training and test rows are exchangeable (shuffled, ton-…), false alarms and reasons are counted as well.
// Labels are in the test files alone; training, calibration and settings never see one.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { measureTrust, reportTrust, type Trust } from "./detectionCalibration.ts"
import { kdd, payments } from "./detectionEvents.ts"
import { nab } from "./detectionNab.ts"
import { adbenchPeers, bars, type Peer } from "./detectionPeers.ts"
import { skab, smd } from "./detectionSeries.ts"
import {
  type AdbenchProtocol,
  adbenchFiles,
  adbenchSet,
  kddTableSet,
  LABEL,
  type LabelledSet,
  nslSet,
  type TonTable,
  tonSet
} from "./detectionSets.ts"
import { type Figures, judgeWay, reportStreams, ways } from "./detectionStreams.ts"
import { dataFile, type Evaluated, groundstate, say, scratchFolder } from "./program.ts"
import { machine } from "./report.ts"

interface Judged {
  readonly suite: string
  readonly set: string
  readonly seed: number
  readonly roc: number
  readonly ap: number
  readonly caught: number
  /** Share of normal rows that alarm at p ≤ 0.01, in hundredths. */
  readonly falseAlarms: number
  readonly seconds: number
  /** Where training and test rows are exchangeable. */
  readonly trust?: Trust | undefined
}

const streamSuites = [skab, smd, kdd, payments, nab]
const tables = Object.keys(bars)
const known = [...tables, ...streamSuites.map(({ name }) => name)]

const { values } = parseArgs({
  options: {
    suite: { type: "string", default: known.join(",") },
    ways: { type: "string", default: ways.join(",") },
    seeds: { type: "string", default: "11,12,13" },
    only: { type: "string" },
    trim: { type: "string" },
    json: { type: "string" },
    keep: { type: "string" }
  }
})
const suites = values.suite.split(",")
const seeds = values.seeds.split(",").map(Number)
const asked = values.ways.split(",")
const only = values.only?.split(",")
const unknown = suites.filter((suite) => !known.includes(suite))
if (unknown.length > 0) {
  say(`there is no suite ${unknown.join(", ")}; suites are ${known.join(", ")}`)
  process.exit(2)
}

const folder = scratchFolder()
/** What `train` is told beside its files and seed. */
const flags = values.trim === undefined ? [] : ["--trim", values.trim]

/** Suites whose training and test rows are drawn alike, so that false alarms are what p-values say. */
const exchangeable = ["shuffled", "ton-gps", "ton-modbus"]

const judge = async (suite: string, set: LabelledSet, seed: number): Promise<Judged> => {
  const [train, test, model] = ["train.csv", "test.csv", "model"].map((name) => join(folder, name))
  writeFileSync(train, set.train)
  writeFileSync(test, set.test)
  const from = performance.now()
  await groundstate(
    ...["train", "--input", train, "--output", model, "--seed", String(seed), "-o", "json"],
    ...flags
  )
  const seconds = (performance.now() - from) / 1_000
  const seen = await groundstate<Evaluated>(
    ...["evaluate", "--model", model, "--input", test, "--label", LABEL, "-o", "json"]
  )
  return {
    suite,
    set: set.name,
    seed,
    roc: 100 * seen.rocAuc,
    ap: 100 * seen.averagePrecision,
    caught: 100 * seen.truePositiveRateAt1Percent,
    falseAlarms: 100 * seen.falseAlarmRate,
    seconds,
    ...(exchangeable.includes(suite) ? { trust: await measureTrust(set, seed, model, folder) } : {})
  }
}

/** How the rows of the collection's sets are parted: in file order or shuffled, and the anomalies among those that train. */
const protocols: Readonly<Record<string, AdbenchProtocol>> = {
  adbench: { shuffled: false, dirty: 0 },
  shuffled: { shuffled: true, dirty: 0 },
  dirty: { shuffled: true, dirty: 0.02 },
  dirty10: { shuffled: true, dirty: 0.1 }
}

/** The sets of a suite, made one at a time: some are large. */
function* setsOf(suite: string, seed: number): Generator<LabelledSet> {
  if (!isCollection(suite)) {
    const set =
      suite === "nsl" ? nslSet() : suite === "kdd-table" ? kddTableSet(seed) : tonSet(suite as TonTable, seed)
    if (set === undefined) say(`${suite} skipped: its files in ../shared/data are absent`)
    else yield set
    return
  }
  const files = adbenchFiles()
  if (files === undefined) say(`${suite} skipped: ../shared/data/adbench is absent`)
  for (const file of files ?? []) {
    if (only !== undefined && !only.some((name) => file.includes(name))) continue
    yield adbenchSet(file, seed, protocols[suite])
  }
}

const { keep } = values
const trimSaid = values.trim ?? "by default"
/** Figures stored by an earlier run with the same trim, by suite, set and seed. */
const stored = new Map(
  (keep === undefined || !existsSync(keep) ? [] : readFileSync(keep, "utf8").trim().split("\n"))
    .filter((text) => text !== "")
    .map((text) => JSON.parse(text) as Judged & { readonly trim: string })
    .filter(({ trim }) => trim === trimSaid)
    .map((one) => [`${one.suite} ${one.set} ${one.seed}`, one] as const)
)

const judgeOnce = async (suite: string, set: LabelledSet, seed: number): Promise<Judged> => {
  const before = stored.get(`${suite} ${set.name} ${seed}`)
  if (before !== undefined) return before
  const one = await judge(suite, set, seed)
  if (keep !== undefined) appendFileSync(keep, `${JSON.stringify({ ...one, trim: trimSaid })}\n`)
  return one
}

const mean = (of: ReadonlyArray<number>) => of.reduce((sum, value) => sum + value, 0) / of.length
const deviation = (of: ReadonlyArray<number>) =>
  Math.sqrt(mean(of.map((value) => (value - mean(of)) ** 2)) * (of.length / Math.max(1, of.length - 1)))

const isCollection = (suite: string) =>
  suite === "adbench" || suite === "shuffled" || suite === "dirty" || suite === "dirty10"

const figure = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(1)).padStart(6)
const line = (name: string, ...figures: ReadonlyArray<number | undefined>) =>
  `${name.padEnd(24)}${figures.map(figure).join("")}`

const report = (suite: string, judged: ReadonlyArray<Judged>): string => {
  const { peers, pass, strong } = bars[suite]
  const sets = [...new Set(judged.map(({ set }) => set))]
  const part = (of: ReadonlyArray<Judged>, key: "roc" | "ap" | "caught") => mean(of.map((one) => one[key]))
  // The mean over sets for each seed, then the mean and deviation over seeds.
  const bySeed = (key: "roc" | "ap" | "caught") =>
    seeds.map((seed) =>
      part(
        judged.filter((one) => one.seed === seed),
        key
      )
    )
  const [roc, ap, caught] = (["roc", "ap", "caught"] as const).map(bySeed)
  const whole =
    !isCollection(suite) || (only === undefined && sets.length === Object.keys(adbenchPeers).length)
  const bar = (of: Peer | undefined) => {
    if (of === undefined) return []
    const met = mean(roc) >= of.roc && mean(ap) >= (of.ap ?? 0) && mean(caught) >= (of.caught ?? 0)
    return [`${line(`bar: ${of.name}`, of.roc, of.ap, of.caught)}  ${met ? "met" : "missed"}`]
  }
  return [
    `${suite}, ${sets.length} sets, seeds ${seeds.join(", ")}, trim ${values.trim ?? "by default"}: ROC, AP, caught at 1 %; kNN and isolation forest ROC, AP`,
    ...sets.map((set) => {
      const of = judged.filter((one) => one.set === set)
      const stored = suite === "adbench" ? (adbenchPeers[set] ?? []) : []
      return line(`  ${set}`, part(of, "roc"), part(of, "ap"), part(of, "caught"), ...stored)
    }),
    line("groundstate", mean(roc), mean(ap), mean(caught)),
    line("  deviation over seeds", deviation(roc), deviation(ap), deviation(caught)),
    ...(whole
      ? [
          ...peers.map((peer) => line(peer.name, peer.roc, peer.ap, peer.caught)),
          ...bar(pass),
          ...bar(strong)
        ]
      : [])
  ].join("\n")
}

const all: Array<Judged> = []
const tablesAsked = suites.filter((name) => tables.includes(name))
const setsIn = (suite: string) =>
  !isCollection(suite)
    ? 1
    : (adbenchFiles() ?? []).filter((file) => only?.some((name) => file.includes(name)) ?? true).length
const wanted = seeds.length * tablesAsked.reduce((sum, suite) => sum + setsIn(suite), 0)
const begun = performance.now()
let computed = 0
/** How far the tables are, and how long the rest takes if it goes on like this. */
const progress = (done: number) => {
  const left = (((performance.now() - begun) / Math.max(1, computed)) * (wanted - done)) / 60_000
  return `${done} of ${wanted}${computed === 0 ? "" : `, about ${left.toFixed(0)} min left`}`
}
for (const suite of tablesAsked) {
  const judged: Array<Judged> = []
  for (const seed of seeds) {
    for (const set of setsOf(suite, seed)) {
      const known = stored.has(`${suite} ${set.name} ${seed}`)
      const one = await judgeOnce(suite, set, seed)
      if (!known) computed++
      judged.push(one)
      say(
        `${line(`${suite} ${one.set} ${seed}`, one.roc, one.ap, one.caught, one.falseAlarms)}  ${one.seconds.toFixed(1)} s  ${progress(all.length + judged.length)}`
      )
    }
  }
  const trust = reportTrust(judged)
  if (judged.length > 0) process.stdout.write(`${report(suite, judged)}\n`)
  if (trust !== undefined) process.stdout.write(`${trust}\n`)
  all.push(...judged)
}

/** One way of judging one stream; figures as the suite names them. */
interface JudgedStream {
  readonly suite: string
  readonly set: string
  readonly way: string
  readonly seed: number
  readonly figures: Figures
  readonly seconds: number
}

const streams: Array<JudgedStream> = []
for (const suite of streamSuites) {
  if (!suites.includes(suite.name)) continue
  if (dataFile(suite.data) === undefined) {
    say(`${suite.name} skipped: ../shared/data/${suite.data} is absent`)
    continue
  }
  const judged: Array<JudgedStream> = []
  for (const seed of seeds) {
    for (const set of await suite.prepare(folder, seed)) {
      const add = (way: string, figures: Figures, seconds: number) => {
        judged.push({ suite: suite.name, set: set.name, way, seed, figures, seconds })
        say(
          `${suite.name}, ${set.name}, ${way}, ${seed}: ${JSON.stringify(figures)}  ${seconds.toFixed(1)} s`
        )
      }
      for (const { name, figures } of set.controls) add(name, figures, 0)
      for (const way of ways.filter((one) => asked.includes(one))) {
        const from = performance.now()
        const figures = await judgeWay(folder, set, way, seed)
        add(way, figures, (performance.now() - from) / 1_000)
      }
    }
  }
  if (judged.length > 0) process.stdout.write(`${reportStreams(suite, seeds, judged)}\n`)
  streams.push(...judged)
}

if (values.json !== undefined && all.length + streams.length > 0)
  writeFileSync(values.json, `${JSON.stringify({ machine: machine(), judged: all, streams }, null, 1)}\n`)
