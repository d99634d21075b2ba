// A runner that is told nonsense starts nothing and says what is wrong. F34.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runnerKeys } from "../../src/services/runtime/SettingsFile.ts"
import { seeded } from "../../test/support/folding.ts"
import { probeStream } from "../../test/support/probeStream.ts"
import { writeConfig } from "../../test/support/runner.ts"
import { type LoneScenario, untold } from "../scenario.ts"

const CONFIGURATION = 78
const program = fileURLToPath(new URL("../../main.js", import.meta.url))

export const settings: LoneScenario = {
  kind: "alone",
  id: "F34",
  name: "settings",
  about: "settings in turn have a value that none takes, by variable; then keys that none are",
  invariants: "exit 78, naming it, no half start",
  play: async ({ folder, length, say, seed }) => {
    const chance = seeded(seed)
    const config = writeConfig(folder, {}, [probeStream])
    const checked = runnerKeys.filter(
      ({ kind }) => kind === "number" || kind === "boolean" || kind === "duration"
    )
    const shuffled = checked
      .map((key) => ({ key, order: chance() }))
      .toSorted((a, b) => a.order - b.order)
      .map(({ key }) => key)
    const wrong = [
      ...shuffled
        .slice(0, length === "long" ? shuffled.length : 12)
        .map(({ variable }) => [variable, "nonsense"]),
      ["GROUNDSTATE_HTTP_PROT", "8080"],
      ["GROUNDSTATE_LOG_KIND", "paper"],
      ["GROUNDSTATE_DATABASE_KIND", "postgres"]
    ]
    const because: Array<string> = []
    const times: Array<number> = []
    for (const [variable, value] of wrong) {
      const from = performance.now()
      const { status, stderr } = spawnSync(process.execPath, [program, "run", "--config", config], {
        env: { PATH: process.env["PATH"], [variable]: value },
        encoding: "utf8",
        timeout: 60_000
      })
      times.push(performance.now() - from)
      // What is said of a missing setting names the setting, not the variable that asks for it.
      const named =
        stderr.includes(variable) || (variable === "GROUNDSTATE_DATABASE_KIND" && /postgres/.test(stderr))
      if (status !== CONFIGURATION || !named)
        because.push(`F34: ${variable}=${value}: exit ${status}, said ${stderr.slice(0, 200)}`)
      if (existsSync(join(folder, "data", "state.db")))
        because.push(`F34: ${variable}: a half start left a database`)
    }
    say(`  ${wrong.length} settings refused`)
    return {
      ...untold(because.length === 0 ? "held" : "failed", ""),
      because,
      faults: wrong.map(([variable, value]) => `${variable}=${value}`),
      observed: [`the slowest ended after ${Math.round(Math.max(...times))} ms`]
    }
  }
}
