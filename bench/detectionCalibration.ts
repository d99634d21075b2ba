// Do p-values hold, and do reasons name what is odd? Normal rows in two random halves: one trains, the other is judged.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { measureReasons, type Reasons } from "./detectionReasons.ts"
import { type NormalHalves, normalHalves } from "./detectionSets.ts"
import { falseAlarmInterval } from "./falseAlarms.ts"
import { groundstate, say } from "./program.ts"

const SHARES = [0.01, 0.001]

export interface FalseAlarms {
  readonly set: string
  readonly seed: number
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

const count = async (
  set: NormalHalves,
  seed: number,
  folder: string,
  flags: ReadonlyArray<string>
): Promise<FalseAlarms> => {
  const [train, test, model, scores] = ["train.csv", "test.csv", "model", "scores.csv"].map((name) =>
    join(folder, name)
  )
  writeFileSync(train, set.train)
  writeFileSync(test, set.test)
  await groundstate(
    ...["train", "--input", train, "--output", model, "--seed", String(seed), "-o", "json"],
    ...flags
  )
  await groundstate("score", "--model", model, "--input", test, "--output", scores, "-o", "json")
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
    set: set.name,
    seed,
    calibrationRows,
    freshRows: pvalues.length,
    reasons: await measureReasons(set.test, model, folder, seed),
    at: SHARES.map((share) => ({
      share,
      alarms: pvalues.filter((p) => p <= share).length,
      ...falseAlarmInterval(share, calibrationRows, pvalues.length)
    }))
  }
}

const lineOf = ({ set, seed, calibrationRows, freshRows, at, reasons }: FalseAlarms): string =>
  [
    `  ${`${set} ${seed}`.padEnd(22)}${String(calibrationRows).padStart(6)}${String(freshRows).padStart(7)}`,
    ...at.map(({ alarms, low, high }) => {
      const share = (of: number) => ((100 * of) / freshRows).toFixed(2)
      const verdict = alarms > high ? "too many" : alarms < low ? "too few" : "pass"
      return `${share(alarms).padStart(7)} %  ${`[${share(low)}, ${share(high)}]`.padEnd(14)}${verdict.padEnd(9)}`
    }),
    `  named ${(100 * reasons.one).toFixed(0)} % of one moved, ${(100 * reasons.two).toFixed(0)} % of two`
  ].join("")

/** Counts false alarms on every set; prints a line for each and a summary at the end. */
export const measureFalseAlarms = async (options: {
  readonly seeds: ReadonlyArray<number>
  readonly only: ReadonlyArray<string> | undefined
  readonly folder: string
  /** Given to `train` as well. */
  readonly flags: ReadonlyArray<string>
}): Promise<ReadonlyArray<FalseAlarms>> => {
  const all: Array<FalseAlarms> = []
  for (const seed of options.seeds) {
    for (const set of normalHalves(seed, options.only)) {
      const one = await count(set, seed, options.folder, options.flags)
      say(lineOf(one))
      all.push(one)
    }
  }
  if (all.length === 0) {
    say("calibration skipped: ../shared/data is absent, or has no such set")
    return all
  }
  const checks = all.flatMap(({ at }) => at)
  const passed = checks.filter(({ alarms, low, high }) => alarms >= low && alarms <= high).length
  const many = checks.filter(({ alarms, high }) => alarms > high).length
  process.stdout.write(
    [
      "calibration: rows that calibrate, fresh normal rows, false alarms at p ≤ 1 % and at p ≤ 0.1 % with the 99 % interval",
      ...all.map(lineOf),
      `a moved feature is among the first two reasons in nine of ten rows or more: ${all.filter(({ reasons }) => Math.min(reasons.one, reasons.two) >= 0.9).length} of ${all.length}`,
      `${passed} of ${checks.length} checks pass, ${many} have too many false alarms; one in a hundred fails by chance`,
      ""
    ].join("\n")
  )
  return all
}
