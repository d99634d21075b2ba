// Do p-values hold, and do reasons name what is odd? Where training and test rows are exchangeable, the test's normal
// rows tell, by the same model that is judged by the labelled ones.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { measureReasons, type Reasons } from "./detectionReasons.ts"
import type { LabelledSet } from "./detectionSets.ts"
import { falseAlarmInterval } from "./falseAlarms.ts"
import { groundstate } from "./program.ts"

const SHARES = [0.01, 0.001]

export interface Trust {
  readonly calibrationRows: number
  readonly freshRows: number
  /** At 1 % and at 0.1 %: alarms, and the fewest and most that 99 of 100 valid models would give. */
  readonly at: ReadonlyArray<{
    readonly share: number
    readonly alarms: number
    readonly low: number
    readonly high: number
  }>
  readonly reasons: Reasons
}

/** The test's normal rows, without their label. */
const normalsOf = ({ test }: LabelledSet): string => {
  const [header, ...lines] = test.trim().split("\n")
  const unlabelled = (line: string) => line.slice(0, line.lastIndexOf(","))
  return `${[header, ...lines.filter((line) => line.endsWith(",0"))].map(unlabelled).join("\n")}\n`
}

/** `model`: trained on the set's training rows, of which the test's normal rows are no different. */
export const measureTrust = async (
  set: LabelledSet,
  seed: number,
  model: string,
  folder: string
): Promise<Trust> => {
  const [input, scores] = ["normals.csv", "scores.csv"].map((name) => join(folder, name))
  const normals = normalsOf(set)
  writeFileSync(input, normals)
  await groundstate("score", "--model", model, "--input", input, "--output", scores, "-o", "json")
  const manifest = JSON.parse(readFileSync(join(model, "manifest.json"), "utf8")) as {
    readonly graphs: ReadonlyArray<{ readonly calibration: { readonly energies: ReadonlyArray<number> } }>
  }
  const calibrationRows = manifest.graphs[0].calibration.energies.length
  const pvalues = readFileSync(scores, "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => Number(line.split(",")[3]))
  return {
    calibrationRows,
    freshRows: pvalues.length,
    reasons: await measureReasons(normals, model, folder, seed),
    at: SHARES.map((share) => ({
      share,
      alarms: pvalues.filter((p) => p <= share).length,
      ...falseAlarmInterval(share, calibrationRows, pvalues.length)
    }))
  }
}

/** A set by one seed, as far as it is reported here. */
export interface Trusted {
  readonly set: string
  readonly seed: number
  readonly trust?: Trust | undefined
}

/** A line for each set and a summary; undefined where nothing was measured. */
export const reportTrust = (judged: ReadonlyArray<Trusted>): string | undefined => {
  const measured = judged.flatMap(({ set, seed, trust }) =>
    trust === undefined ? [] : [{ set, seed, ...trust }]
  )
  if (measured.length === 0) return undefined
  const checks = measured.flatMap(({ at }) => at)
  const passed = checks.filter(({ alarms, low, high }) => alarms >= low && alarms <= high).length
  const many = checks.filter(({ alarms, high }) => alarms > high).length
  const named = measured.filter(({ reasons }) => Math.min(reasons.one, reasons.two) >= 0.9).length
  return [
    "calibration: rows that calibrate, fresh normal rows, false alarms at p ≤ 1 % and at p ≤ 0.1 % with the 99 % interval",
    ...measured.map(lineOf),
    `a moved feature is among the first two reasons in nine of ten rows or more: ${named} of ${measured.length}`,
    `${passed} of ${checks.length} checks pass, ${many} have too many false alarms; one in a hundred fails by chance`
  ].join("\n")
}

const lineOf = ({ set, seed, calibrationRows, freshRows, at, reasons }: Trust & Trusted): string =>
  [
    `  ${`${set} ${seed}`.padEnd(22)}${String(calibrationRows).padStart(6)}${String(freshRows).padStart(7)}`,
    ...at.map(({ alarms, low, high }) => {
      const share = (of: number) => ((100 * of) / freshRows).toFixed(2)
      const verdict = alarms > high ? "too many" : alarms < low ? "too few" : "pass"
      return `${share(alarms).padStart(7)} %  ${`[${share(low)}, ${share(high)}]`.padEnd(14)}${verdict.padEnd(9)}`
    }),
    `  named ${(100 * reasons.one).toFixed(0)} % of one moved, ${(100 * reasons.two).toFixed(0)} % of two`
  ].join("")
