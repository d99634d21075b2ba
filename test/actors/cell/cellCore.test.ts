// What a cell says depends on its events and commands alone, never on how they were cut into slices.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { batchOf, coreOf, type Emitted, nothing, runSlices } from "../../support/cellRun.ts"
import { badRecords, chaosPlan, makeEvents } from "../../support/chaosStream.ts"
import { seeded } from "../../support/folding.ts"
import { stateOf } from "../../support/stateOf.ts"

const utf8 = new TextEncoder()

/** Events, repeats, conflicts, late ones and bad ones, a few with escapes that only the strict parser reads. */
const recordsOf = (seed: number, count: number): ReadonlyArray<Uint8Array | null> => {
  const next = makeEvents(seed)
  const chance = seeded(seed + 1)
  return Array.from({ length: count }, () => {
    const roll = chance()
    if (roll < 0.01) return badRecords[Math.floor(chance() * badRecords.length)]
    if (roll < 0.012) return null
    const { json } = next()
    return utf8.encode(
      roll < 0.05 ? json.replace('"run"', '"r\\u0075n"').replace('"idle"', '"i\\u0064l\\u0065"') : json
    )
  })
}

/** Within a slice the order of dead letters says nothing: each has its own id. */
const sorted = (out: Emitted): Emitted => ({ alerts: out.alerts, letters: [...out.letters].sort() })

const lengths = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 12 })

describe("the cell's core", () => {
  it("gives the same alerts, dead letters and state for every way to cut the same records", {
    timeout: 120_000
  }, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), lengths, lengths, (seed, one, other) => {
        const batch = batchOf(recordsOf(seed, 3_000))
        const cells = [one, other].map((cuts) => {
          const core = coreOf(chaosPlan)
          const out = nothing()
          runSlices(core, batch, 0, batch.count, cuts, out)
          return { core, out }
        })
        expect(cells[0].out.alerts.length).toBeGreaterThan(0)
        expect(cells[0].out.letters.length).toBeGreaterThan(0)
        expect(sorted(cells[0].out)).toEqual(sorted(cells[1].out))
        expect(stateOf(cells[0].core)).toEqual(stateOf(cells[1].core))
      }),
      { numRuns: 25, seed: 20_251 }
    )
  })

  it("takes commands between slices at the same offset to the same effect, however the rest is cut", {
    timeout: 60_000
  }, () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 1, max: 1_999 }),
        lengths,
        lengths,
        (seed, at, one, other) => {
          const batch = batchOf(recordsOf(seed, 2_000))
          const cells = [one, other].map((cuts) => {
            const core = coreOf(chaosPlan)
            const out = nothing()
            runSlices(core, batch, 0, at, cuts, out)
            core.quarantine("d3", true)
            core.quarantine("never-seen", true)
            core.override("d4", { mute: true, thresholdShift: 0, untilMillis: Number.MAX_SAFE_INTEGER })
            core.override("d5", { mute: false, thresholdShift: 4, untilMillis: Number.MAX_SAFE_INTEGER })
            runSlices(core, batch, at, batch.count, cuts, out)
            return { core, out }
          })
          expect(sorted(cells[0].out)).toEqual(sorted(cells[1].out))
          expect(stateOf(cells[0].core)).toEqual(stateOf(cells[1].core))
        }
      ),
      { numRuns: 15, seed: 20_252 }
    )
  })

  it("calls the same events anomalous however they are cut, by the threshold before each", () => {
    const batch = batchOf(recordsOf(7, 4_000))
    const [one, other] = [1, 512].map((slice) => {
      const core = coreOf(chaosPlan)
      const anomalous: Array<number> = []
      for (let at = 0; at < batch.count; ) {
        at = core.take(batch, at, Math.min(batch.count, at + slice))
        core.decide("baseline")
        for (let i = 0; i < core.count; i++) {
          if (core.isAnomalous(i)) anomalous.push(batch.offsets[core.events.record[i]])
        }
      }
      return anomalous
    })
    expect(one.length).toBeGreaterThan(0)
    expect(other).toEqual(one)
  })

  it("accounts for every record: scored, repeated, or refused", () => {
    const batch = batchOf(recordsOf(5, 4_000))
    const core = coreOf(chaosPlan)
    let passed = 0
    for (let at = 0; at < batch.count; ) {
      at = core.take(batch, at, Math.min(batch.count, at + 100))
      core.decide("baseline")
      passed += core.scored + core.duplicates + core.rejects.count
    }
    expect(passed).toBe(4_000)
  })
})
