// Labelled sets as training and test rows, by the protocols of the published comparisons; the files are only read.
import { readdirSync, readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"
import { makeRandom, permutation } from "../src/services/train/random.ts"
import { readNpz } from "./npz.ts"
import { dataFile } from "./program.ts"

/** One training and one test table as CSV, with a header; the label stands last, in the test rows only. */
export interface LabelledSet {
  readonly name: string
  readonly train: string
  readonly test: string
}

export const LABEL = "label"

const ROWS_MAX = 50_000

export interface AdbenchProtocol {
  /** The rows are shuffled first; else they stand as in the file. */
  readonly shuffled: boolean
  /** Share of unlabelled anomalies among the training rows. */
  readonly dirty: number
}

const draws = (seed: number) => makeRandom(seed, 99)

const shuffled = (rows: ReadonlyArray<number>, random: ReturnType<typeof draws>): ReadonlyArray<number> =>
  Array.from(permutation(rows.length, random), (at) => rows[at])

/** Names of the files of the collection, `28_pendigits.npz` and the like; undefined where it is absent. */
export const adbenchFiles = (): ReadonlyArray<string> | undefined => {
  const folder = dataFile("adbench")
  return folder === undefined
    ? undefined
    : readdirSync(folder)
        .filter((name) => name.endsWith(".npz"))
        .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
}

/**
 * Above 50,000 rows that many are drawn. Trains on the first half of the normal rows as they then lie, tests on
 * the other half and all anomalies, less those that are put among the training rows, at most half of them.
 */
export const adbenchSet = (
  file: string,
  seed: number,
  { shuffled: mixedUp, dirty }: AdbenchProtocol
): LabelledSet => {
  const members = readNpz(dataFile(`adbench/${file}`) as string)
  const { shape, values } = members.get("X") as { shape: ReadonlyArray<number>; values: Float64Array }
  const labels = (members.get("y") as { values: Float64Array }).values
  const width = shape[1]
  const random = draws(seed)
  const all = Array.from({ length: shape[0] }, (_, row) => row)
  const drawn = all.length > ROWS_MAX || mixedUp ? shuffled(all, random).slice(0, ROWS_MAX) : all
  const normals = drawn.filter((row) => labels[row] !== 1)
  const anomalies = drawn.filter((row) => labels[row] === 1)
  const half = normals.length >> 1
  const mixed = Math.min(anomalies.length >> 1, Math.round((half * dirty) / (1 - dirty)))
  const clean = normals.slice(0, half)
  const train = mixed === 0 ? clean : shuffled([...clean, ...anomalies.slice(0, mixed)], random)
  const test = [...normals.slice(half), ...anomalies.slice(mixed)]
  const names = Array.from({ length: width }, (_, column) => `c${column}`).join(",")
  const line = (row: number) => values.subarray(row * width, (row + 1) * width).join(",")
  return {
    name: file.replace(/^\d+_|\.npz$/g, ""),
    train: `${names}\n${train.map(line).join("\n")}\n`,
    test: `${names},${LABEL}\n${test.map((row) => `${line(row)},${labels[row]}`).join("\n")}\n`
  }
}

/** Columns of the two tables that are kept: date, time and the attack's type would tell the label. */
const tonTables = {
  "ton-gps": { file: "Train_Test_IoT_GPS_Tracker.csv.gz", from: 2, to: 4 },
  "ton-modbus": { file: "Train_Test_IoT_Modbus.csv.gz", from: 2, to: 6 }
} as const

export type TonTable = keyof typeof tonTables

const TON_ATTACKS = 2_000

/** TON-IoT: half of the normal rows, shuffled, train; the rest and 2,000 attack rows drawn at random test. */
export const tonSet = (table: TonTable, seed: number): LabelledSet | undefined => {
  const { file, from, to } = tonTables[table]
  const path = dataFile(`ton-iot/${file}`)
  if (path === undefined) return undefined
  const rows = gunzipSync(readFileSync(path))
    .toString("utf8")
    .trim()
    .split("\n")
    .map((line) => line.trim().split(","))
  const names = rows[0].slice(from, to)
  const random = draws(seed)
  const all = shuffled(
    Array.from({ length: rows.length - 1 }, (_, at) => at + 1),
    random
  )
  const normals = all.filter((row) => rows[row][to] === "0")
  const attacks = all.filter((row) => rows[row][to] === "1").slice(0, TON_ATTACKS)
  const half = normals.length >> 1
  const line = (row: number) => rows[row].slice(from, to).join(",")
  const test = [...normals.slice(half), ...attacks]
  return {
    name: table,
    train: `${names.join(",")}\n${normals.slice(0, half).map(line).join("\n")}\n`,
    test: `${names.join(",")},${LABEL}\n${test.map((row) => `${line(row)},${rows[row][to]}`).join("\n")}\n`
  }
}

/** NSL-KDD: the normal rows of the 20 % file train, Test+ tests; undefined where absent. Difficulty is left out. */
export const nslSet = (): LabelledSet | undefined => {
  const fields = dataFile("nsl-kdd/Field_Names.csv")
  const training = dataFile("nsl-kdd/KDDTrainplus_20Percent.txt.gz")
  const test = dataFile("nsl-kdd/KDDTestplus.txt.gz")
  if (fields === undefined || training === undefined || test === undefined) return undefined
  const names = readFileSync(fields, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(",")[0].trim())
  const rows = (file: string) =>
    gunzipSync(readFileSync(file))
      .toString("latin1")
      .trim()
      .split("\n")
      .map((line) => line.trim().split(","))
  const normal = rows(training).filter((cells) => cells[names.length] === "normal")
  return {
    name: "NSL-KDD",
    train: `${names.join(",")}\n${normal.map((cells) => cells.slice(0, names.length).join(",")).join("\n")}\n`,
    test: `${names.join(",")},${LABEL}\n${rows(test)
      .map((cells) => cells.slice(0, names.length + 1).join(","))
      .join("\n")}\n`
  }
}

const KDD_TRAINING = 20_000

/**
 * KDD-99: 20,000 normal rows of the 10 % file, drawn at random, train; all of `corrected`, with attacks that the 10 %
 * file has not, tests. Undefined where absent.
 */
export const kddTableSet = (seed: number): LabelledSet | undefined => {
  const fields = dataFile("nsl-kdd/Field_Names.csv")
  const training = dataFile("kdd99/kddcup.data_10_percent.gz")
  const test = dataFile("kdd99/corrected.gz")
  if (fields === undefined || training === undefined || test === undefined) return undefined
  const names = readFileSync(fields, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(",")[0].trim())
  const rows = (file: string) => gunzipSync(readFileSync(file)).toString("latin1").trim().split("\n")
  const normal = rows(training).filter((row) => row.trim().endsWith(",normal."))
  const drawn = shuffled(
    normal.map((_, at) => at),
    draws(seed)
  ).slice(0, KDD_TRAINING)
  return {
    name: "KDD-99",
    train: `${names.join(",")}\n${drawn.map((at) => normal[at].slice(0, normal[at].lastIndexOf(","))).join("\n")}\n`,
    test: `${names.join(",")},${LABEL}\n${rows(test).join("\n")}\n`
  }
}
