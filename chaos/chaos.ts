// Harms a region of real processes and says what came of it: `npm run chaos -- --help`.
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { play, playTogether } from "./play.ts"
import { tableOf, writeReport } from "./report.ts"
import type { RegionScenario, Row } from "./scenario.ts"
import { absent, scenarios, short } from "./scenarios/index.ts"
import type { Length } from "./stage.ts"

const help = `Harms a region of real processes under load, and compares what it wrote with an undisturbed computation.

  npm run chaos -- --list                     scenarios, with their rows of the contract
  npm run chaos -- --scenario kill --seed 7   one of them; several with commas
  npm run chaos -- --short                    ${short.join(", ")} in one region, about a minute
  npm run chaos -- --all --report docs/chaos.md

  --seed N       decides load and faults; printed first (default: 1)
  --seeds N      plays each with N seeds, from --seed on
  --kills N      how often F1 kills (default 5, with --long 20)
  --long         the contract's own lengths in place of short ones
  --slack N      N times what is allowed for a recovery: for a machine that does other things as well
  --together     the named scenarios one after the other in one region
  --report PATH  writes the runs to FILE.md, FILE.json or both in a folder
  --with FILES   reports what stands in these FILE.json of earlier runs as well, in their order, commas between
  --keep DIR     where histories and diagnoses go (default .cache/chaos)

Exit code 0 where all held, 1 where one failed, 3 where one showed nothing or could not be run.`

const { values } = parseArgs({
  options: {
    scenario: { type: "string" },
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "1" },
    kills: { type: "string" },
    slack: { type: "string", default: "1" },
    list: { type: "boolean", default: false },
    all: { type: "boolean", default: false },
    short: { type: "boolean", default: false },
    long: { type: "boolean", default: false },
    together: { type: "boolean", default: false },
    report: { type: "string" },
    with: { type: "string" },
    keep: { type: "string" },
    help: { type: "boolean", default: false }
  }
})

const say = (text: string) => process.stderr.write(`${text}\n`)
const out = (text: string) => process.stdout.write(`${text}\n`)
const refuse = (text: string): never => {
  say(text)
  process.exit(2)
}

if (values.list) {
  const width = Math.max(...[...scenarios, ...absent].map(({ name }) => name.length))
  for (const one of scenarios)
    out(`${one.id.padEnd(11)} ${one.name.padEnd(width)}  ${one.about} (${one.invariants})`)
  for (const one of absent) out(`${one.id.padEnd(11)} ${one.name.padEnd(width)}  not yet: ${one.why}`)
  process.exit(0)
}
const names = values.all
  ? scenarios.map(({ name }) => name)
  : values.short
    ? short
    : (values.scenario?.split(",") ?? [])
if (values.help || (names.length === 0 && values.with === undefined)) {
  out(help)
  process.exit(values.help ? 0 : 2)
}
const chosen = names.map(
  (name) =>
    scenarios.find((one) => one.name === name || one.id === name) ??
    refuse(`there is no scenario ${name}; they are ${scenarios.map((one) => one.name).join(", ")}`)
)
const whole = (text: string | undefined, flag: string) => {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) refuse(`${flag} takes a whole number from 1 on`)
  return value
}
const first = whole(values.seed, "--seed")
const kills = values.kills === undefined ? undefined : whole(values.kills, "--kills")
const slack = whole(values.slack, "--slack")
const seeds = Array.from({ length: whole(values.seeds, "--seeds") }, (_, i) => first + i)
const keep =
  values.keep ??
  join(fileURLToPath(new URL("../..", import.meta.url)), ".cache", "chaos", new Date().toISOString())
mkdirSync(keep, { recursive: true })
const length: Length = values.long ? "long" : values.short ? "short" : "usual"
const together = values.short || values.together

// What was started ends with this process, however it ends.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130))

out(`seeds ${seeds.join(", ")}; scenarios ${names.join(", ")}`)
const rows: Array<Row> = (values.with?.split(",") ?? []).flatMap(
  (file) => JSON.parse(readFileSync(file, "utf8")).rows
)
const add = (made: ReadonlyArray<Row>) => {
  rows.push(...made)
  for (const row of made)
    say(
      [
        `${row.id} ${row.name}, seed ${row.seed}: ${row.verdict}, ${row.seconds.toFixed(0)} s`,
        ...row.because.map((why) => `  ${why}`)
      ].join("\n")
    )
}
/** After each scenario anew, so that what has been played is told whatever becomes of the rest. */
const report = () =>
  values.report === undefined
    ? []
    : writeReport(
        values.report,
        rows,
        absent,
        `npm run chaos -- ${process.argv.slice(2).join(" ")}`,
        (path) => (existsSync(path) ? readFileSync(path, "utf8") : undefined)
      )
for (const seed of seeds) {
  const options = { seed, folder: keep, length, kills, slack, say }
  if (together && chosen.length > 0) {
    const regional = chosen.filter((one): one is RegionScenario => one.kind === "region")
    add(await playTogether(regional, { ...options, folder: join(keep, `together-${seed}`) }))
    continue
  }
  for (const scenario of chosen) {
    add([await play(scenario, options)])
    report()
  }
}
out(tableOf(rows))
say(`histories: ${keep}`)
for (const file of report()) say(`report: ${file}`)
process.exit(
  rows.some(({ verdict }) => verdict === "failed")
    ? 1
    : rows.every(({ verdict }) => verdict === "held")
      ? 0
      : 3
)
