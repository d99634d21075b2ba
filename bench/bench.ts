// Runs the benches one after the other, each in a process of its own, and prints what they found as a table.
// node dist/bench/bench.js [--only cell,latency] [--rounds 5] [--minutes 1] [--keep]; figures also go to
// bench/results/, with --keep under a name that git does not ignore.
import { fork } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { BenchOptions, Question, Row } from "./report.ts"
import { machine, tableOf, writeResults } from "./report.ts"

const questions: Readonly<Record<string, () => Promise<Question>>> = {
  cell: async () => (await import("./cell.ts")).cell,
  kafka: async () => (await import("./kafkaThroughput.ts")).kafkaThroughput,
  latency: async () => (await import("./latency.ts")).latency,
  score: async () => (await import("./askScore.ts")).askScore,
  energy: async () => (await import("./energy.ts")).energy,
  alerts: async () => (await import("./alerts.ts")).alerts,
  stages: async () => (await import("./stages.ts")).stages,
  stagesSpeed: async () => (await import("./stages.ts")).stagesSpeed,
  devices: async () => (await import("./devices.ts")).devices,
  region: async () => (await import("./region.ts")).region,
  hostile: async () => (await import("./hostile.ts")).hostile,
  takeover: async () => (await import("./takeover.ts")).takeover,
  soak: async () => (await import("./soak.ts")).soak
}

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    rounds: { type: "string", default: "5" },
    minutes: { type: "string", default: "1" },
    keep: { type: "boolean", default: false },
    child: { type: "string" }
  }
})
const options: BenchOptions = { rounds: Number(values.rounds), minutes: Number(values.minutes) }

const say = (text: string) => process.stderr.write(`${text}\n`)

/** Asks one question in its own process: no bench meets code that another has warmed up or slowed down. */
const askApart = (name: string): Promise<ReadonlyArray<Row>> =>
  new Promise((resolve, reject) => {
    let rows: ReadonlyArray<Row> | undefined
    const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), "--child", name])
    child.on("message", (message) => {
      rows = message as ReadonlyArray<Row>
    })
    child.once("error", reject)
    child.once("exit", (code) => {
      if (rows !== undefined) resolve(rows)
      else reject(new Error(`it ended with code ${code} and no figures`))
    })
  })

if (values.child !== undefined) {
  const question = await questions[values.child]()
  const rows = await question(options)
  process.send?.(rows, undefined, undefined, () => process.exit(0))
} else {
  const wanted = values.only === undefined ? Object.keys(questions) : values.only.split(",")
  const unknown = wanted.filter((name) => !(name in questions))
  if (unknown.length > 0 || !(options.rounds >= 1) || !(options.minutes > 0)) {
    say(`benches are ${Object.keys(questions).join(", ")}; --rounds and --minutes are positive numbers`)
    process.exit(2)
  }
  const { cpu, cores, node } = machine()
  say(`${cores} × ${cpu}, Node ${node}; benches: ${wanted.join(", ")}`)
  const all: Array<Row> = []
  const failed: Array<string> = []
  for (const name of wanted) {
    const from = performance.now()
    try {
      const rows = await askApart(name)
      all.push(...rows)
      say(`${name}: ${((performance.now() - from) / 1_000).toFixed(0)} s`)
      say(tableOf(rows))
    } catch (cause) {
      failed.push(name)
      say(`${name} has no figures: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  const results = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "bench", "results")
  const path = writeResults(results, values.keep, all, failed)
  process.stdout.write(`${tableOf(all)}\n`)
  say(`figures: ${path}`)
  process.exit(failed.length === 0 ? 0 : 1)
}
