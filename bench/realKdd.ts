// KDD Cup 1999 in stream order: through `replay` with and without a model, and as a table through `evaluate`.
// A row becomes an event one second after the one before it; its device is protocol and service, for no host is told.
import { createWriteStream, readFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import {
  dataFile,
  type Evaluated,
  type Finding,
  groundstate,
  type Replayed,
  replayFinding,
  root,
  say
} from "./program.ts"

export const kddStream = join(root, "deploy", "examples", "kdd.yaml")

const FIRST_MILLIS = Date.UTC(2024, 0, 1)
const STEP_MILLIS = 1_000
/** Columns that are texts: protocol, service, flag. */
const TEXTS = new Set([1, 2, 3])
/** Rows at the start of the thinned stream that a model is trained on without labels. */
const WARM_ROWS = 20_000
const PER_ATTACK = 200

export interface KddFiles {
  readonly names: ReadonlyArray<string>
  /** Lines of both files, labels at the end. */
  readonly training: ReadonlyArray<string>
  readonly test: ReadonlyArray<string>
}

/** The rows as they lie in the files; undefined where a file is absent. */
export const readKdd = (): KddFiles | undefined => {
  const names = dataFile("nsl-kdd/Field_Names.csv")
  const training = dataFile("kdd99/kddcup.data_10_percent.gz")
  const test = dataFile("kdd99/corrected.gz")
  if (names === undefined || training === undefined || test === undefined) return undefined
  const lines = (file: string) => gunzipSync(readFileSync(file)).toString("latin1").trim().split("\n")
  return {
    names: readFileSync(names, "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(",")[0].trim()),
    training: lines(training),
    test: lines(test)
  }
}

const labelOf = (line: string): string => line.slice(line.lastIndexOf(",") + 1).trim()
export const isNormal = (line: string): boolean => labelOf(line) === "normal."

export const write = async (
  file: string,
  head: string | undefined,
  rows: Iterable<string>
): Promise<string> => {
  const out = createWriteStream(file)
  let lot = head === undefined ? "" : `${head}\n`
  for (const row of rows) {
    lot += `${row}\n`
    if (lot.length < 1 << 20) continue
    if (!out.write(lot)) await new Promise<void>((resolve) => out.once("drain", () => resolve()))
    lot = ""
  }
  await new Promise<void>((resolve) => out.end(lot, "utf8", () => resolve()))
  return file
}

/** Writes rows as JSON lines, one event each, with the label at `label`; a device is protocol and service, or `device`. */
export const writeEvents = (
  file: string,
  names: ReadonlyArray<string>,
  lines: Iterable<string>,
  device?: string
) => {
  const keys = names.map((name) => `${JSON.stringify(name)}:`)
  function* events() {
    let at = 0
    for (const line of lines) {
      const cells = line.split(",")
      let json = `{"device":"${device ?? `${cells[1]}/${cells[2]}`}","ts":${FIRST_MILLIS + STEP_MILLIS * at++}`
      for (let column = 0; column < keys.length; column++) {
        json += `,${keys[column]}${TEXTS.has(column) ? `"${cells[column]}"` : Number(cells[column])}`
      }
      yield `${json},"label":"${labelOf(line)}"}`
    }
  }
  return write(file, undefined, events())
}

/** A small generator (mulberry32): the thinning depends on the seed alone. */
const random = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** All normal rows in order, each attack type thinned at random to about 200: attacks as rare as a stream has them. */
export const thinned = (lines: ReadonlyArray<string>, seed: number): ReadonlyArray<string> => {
  const counts = new Map<string, number>()
  for (const line of lines) counts.set(labelOf(line), (counts.get(labelOf(line)) ?? 0) + 1)
  const chance = random(seed)
  return lines.filter(
    (line) => isNormal(line) || chance() < PER_ATTACK / (counts.get(labelOf(line)) as number)
  )
}

/** Trains a model of the stream on the normal rows of the training file; answers its folder. */
export const trainKdd = async (files: KddFiles, folder: string): Promise<string> => {
  const model = join(folder, "kdd-model")
  const input = await writeEvents(
    join(folder, "kdd-normal.jsonl"),
    files.names,
    files.training.filter(isNormal)
  )
  await groundstate(
    "train",
    "--stream",
    kddStream,
    "--features",
    "device",
    "--input",
    input,
    "--output",
    model,
    "-o",
    "json"
  )
  return model
}

const replayed = (input: string, model: string | undefined) =>
  groundstate<Replayed>(
    ...["replay", "--stream", kddStream, "--input", input, "--label", "label", "-o", "json"],
    ...(model === undefined ? [] : ["--model", model])
  )

const asTable = async (files: KddFiles, folder: string): Promise<Finding> => {
  const head = [...files.names, "label"].join(",")
  const training = await write(join(folder, "normal.csv"), head, files.training.filter(isNormal))
  const test = await write(join(folder, "test.csv"), head, files.test)
  const model = join(folder, "table-model")
  const scores = join(folder, "scores.csv")
  const label = ["--label", "label"]
  await groundstate("train", "--input", training, ...label, "--output", model, "-o", "json")
  const from = performance.now()
  await groundstate("score", "--model", model, "--input", test, ...label, "--output", scores, "-o", "json")
  const seconds = (performance.now() - from) / 1_000
  const seen = await groundstate<Evaluated>(
    "evaluate",
    "--model",
    model,
    "--input",
    test,
    ...label,
    "-o",
    "json"
  )
  const rows = readFileSync(scores, "latin1").trim().split("\n").length - 1
  if (rows !== files.test.length) throw new Error(`score wrote ${rows} rows for ${files.test.length}`)
  return {
    data: "KDD-99 corrected",
    way: "table: train on normals, evaluate at p ≤ 0.01",
    events: seen.rows,
    anomalies: seen.anomalies,
    detected: seen.detectionRate,
    falseAlarms: seen.falseAlarmRate,
    rocAuc: seen.rocAuc,
    averagePrecision: seen.averagePrecision,
    caughtAt1Percent: seen.truePositiveRateAt1Percent,
    eventsPerSecond: rows / seconds
  }
}

/** Detection and false alarms on KDD-99; labels only choose the normal rows that models are trained on. */
export const realKdd = async (folder: string): Promise<ReadonlyArray<Finding>> => {
  const files = readKdd()
  if (files === undefined) {
    say("kdd skipped: ../shared/data/kdd99 or nsl-kdd/Field_Names.csv is absent")
    return []
  }
  const findings: Array<Finding> = []
  const add = (finding: Finding) => {
    findings.push(finding)
    say(`${finding.data}, ${finding.way}: ${JSON.stringify(finding)}`)
  }
  const test = await writeEvents(join(folder, "corrected.jsonl"), files.names, files.test)
  add(replayFinding("KDD-99 corrected", "replay, baselines", await replayed(test, undefined)))
  const model = await trainKdd(files, folder)
  add(replayFinding("KDD-99 corrected", "replay, model of normals", await replayed(test, model)))

  const rare = thinned(files.training, 11)
  const warm = await writeEvents(join(folder, "warm.jsonl"), files.names, rare.slice(0, WARM_ROWS))
  const rest = await writeEvents(join(folder, "rest.jsonl"), files.names, rare.slice(WARM_ROWS))
  const blind = join(folder, "blind-model")
  await groundstate(
    "train",
    "--stream",
    kddStream,
    "--features",
    "device",
    "--input",
    warm,
    "--output",
    blind,
    "-o",
    "json"
  )
  add(replayFinding("KDD-99 10 %, attacks thinned", "replay, baselines", await replayed(rest, undefined)))
  add(
    replayFinding(
      "KDD-99 10 %, attacks thinned",
      "replay, model of unlabelled rows",
      await replayed(rest, blind)
    )
  )
  add(await asTable(files, folder))
  return findings
}
