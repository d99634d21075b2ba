// F1 F3 F7: a region of real runners under load, harmed as `npm run chaos` does it, in short. I1-I5 I9 I13.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { playTogether } from "../../chaos/play.ts"
import { freeze, kill } from "../../chaos/scenarios/runners.ts"
import { database } from "../../chaos/scenarios/stores.ts"
import { kafkaAvailable } from "../support/kafka.ts"

/** Fixed, so that a failure comes again; another one by hand: CHAOS_SEED=7 npx vitest run test/chaos/harm. */
const SEED = Number(process.env["CHAOS_SEED"] ?? 1)
/** Two test files share the machine; `docs/chaos.md` has times without that. What must be right is right at any pace. */
const SLACK = 4

const folder = mkdtempSync(join(tmpdir(), "groundstate-region-"))
// With CHAOS_KEEP=1 the history and what a failure has left stay, to be looked into.
afterAll(() => {
  if (process.env["CHAOS_KEEP"] === undefined) rmSync(folder, { recursive: true, force: true })
})

it.skipIf(!kafkaAvailable())(
  "killed, frozen, and for a while without its database, a region says what an undisturbed one says",
  { timeout: 400_000 },
  async () => {
    const rows = await playTogether([kill, freeze, database], {
      seed: SEED,
      folder,
      length: "short",
      kills: undefined,
      slack: SLACK,
      say: () => undefined
    })
    for (const { alertsEqual, because, doubled, events, lost, name, statesEqual, verdict } of rows) {
      expect({ name, because, lost, doubled, alertsEqual, statesEqual, verdict }).toEqual({
        name,
        because: [],
        lost: 0,
        doubled: 0,
        alertsEqual: true,
        statesEqual: true,
        verdict: "held"
      })
      expect(events).toBeGreaterThan(1_000)
    }
    expect(rows.map(({ name }) => name)).toEqual(["kill", "freeze", "database"])
  }
)
