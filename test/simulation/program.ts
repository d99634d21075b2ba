// `npm run simulate -- --seeds N --from S [--minutes M]`: many schedules, and of a failing one all that happened in it.
import { parseArgs } from "node:util"
import { simulate } from "./simulate.ts"

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    minutes: { type: "string", default: "Infinity" },
    schedule: { type: "boolean", default: false }
  }
})
const from = Number(values.from)
const count = Number(values.seeds)
const minutes = Number(values.minutes)
if (!(minutes > 0)) {
  process.stderr.write("--minutes takes a number above 0\n")
  process.exit(64)
}
if (!Number.isSafeInteger(from) || !Number.isSafeInteger(count) || count < 1) {
  process.stderr.write("--seeds and --from take whole numbers\n")
  process.exit(64)
}
const began = performance.now()
const failed: Array<number> = []
let steps = 0
const faults: Record<string, number> = {}
let played = 0
for (let seed = from; seed < from + count; seed++) {
  if (performance.now() - began > minutes * 60_000) break
  played++
  const run = simulate(seed)
  steps += run.steps
  for (const [fault, times] of Object.entries(run.faults)) faults[fault] = (faults[fault] ?? 0) + times
  if (run.broken.length > 0) {
    failed.push(seed)
    if (failed.length === 1) process.stdout.write(`${run.schedule()}\n\n`)
    process.stdout.write(`seed ${seed}:\n  ${run.broken.slice(0, 20).join("\n  ")}\n`)
  } else if (values.schedule) process.stdout.write(`${run.schedule()}\n\n`)
}
const seconds = (performance.now() - began) / 1_000
process.stdout.write(
  `${played} of ${count} schedules from seed ${from}: ${failed.length} broken; ${steps} steps, ${seconds.toFixed(1)} s\n${JSON.stringify(faults)}\n`
)
if (failed.length > 0) {
  process.stdout.write(`one again alone: npm run simulate -- --from ${failed[0]} --seeds 1\n`)
  process.exitCode = 1
}
