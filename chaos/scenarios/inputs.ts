// What no decoder may take, what comes again, and what comes out of order, through Kafka and across a takeover.
// F16 F17 F19 F20.
import { badCorpus, bytesOf } from "../../test/support/badCorpus.ts"
import type { RegionScenario } from "../scenario.ts"
import { PARTITIONS, type Stage } from "../stage.ts"
import { cellsOf } from "../watch.ts"
import { even, startAgain } from "./runners.ts"

type Counter = "deadLetters" | "duplicates" | "late" | "ahead"

/** A counter over all cells, since their present owners began. */
const counted = async (stage: Stage, counter: Counter): Promise<number> => {
  const told = await cellsOf(stage.region)
  if (told === undefined || told.items.length < PARTITIONS) throw new Error("not every cell answers")
  return told.items.reduce(
    (sum: number, cell: { counters: Record<Counter, number> }) => sum + cell.counters[counter],
    0
  )
}

const killOne = async (stage: Stage) => {
  const victim = stage.chance() < 0.5 ? "a" : "b"
  const had = (await stage.owners()).get(victim) ?? []
  const what = `SIGKILL ${victim} meanwhile`
  const at = await stage.inject(what, () => stage.runner(victim).kill9())
  await stage.recovered({ what, at, partitions: had, within: 5_000 })
  await startAgain(stage, victim)
  await even(stage, 2)
}

const MiB = 1_048_576

export const poison: RegionScenario = {
  kind: "region",
  id: "F16 F17",
  name: "poison",
  about:
    "one record in fifty is bad, with the whole corpus of bad ones, to 10 MB; a runner is killed meanwhile",
  invariants: "I4 I13",
  stage: {
    load: { badShare: 0.02 },
    region: {
      brokerSettings: {
        "message.max.bytes": String(40 * MiB),
        "socket.request.max.bytes": String(64 * MiB)
      }
    }
  },
  play: async (stage) => {
    for (let round = 0; round < stage.by({ short: 2, usual: 2, long: 5 }); round++) {
      const before = await counted(stage, "deadLetters")
      await stage.inject(`${badCorpus.length} kinds of bad records`, () => {
        stage.load.add(
          badCorpus.map(([, , value]) => {
            const bytes = bytesOf(value)
            return {
              partition: Math.floor(stage.chance() * PARTITIONS),
              value: bytes === null ? null : Buffer.from(bytes)
            }
          })
        )
      })
      await stage.observe("they are dead letters", async () =>
        (await counted(stage, "deadLetters")) >= before + badCorpus.length ? true : undefined
      )
      await stage.settled()
      if (round === 0) await killOne(stage)
    }
  }
}

export const repeats: RegionScenario = {
  kind: "region",
  id: "F19",
  name: "repeats",
  about: "one event in twenty is delivered ten times, some with other bytes; a runner is killed meanwhile",
  invariants: "I2 I4",
  stage: { load: { repeatShare: 0.05 } },
  play: async (stage) => {
    await stage.inject("one event in twenty comes ten times", () =>
      stage.last(stage.by({ short: 5_000, usual: 5_000, long: 60_000 }))
    )
    await stage.observe("repetitions are counted", async () =>
      (await counted(stage, "duplicates")) > 100 ? true : undefined
    )
    await killOne(stage)
    await stage.last(3_000)
  }
}

export const disorder: RegionScenario = {
  kind: "region",
  id: "F20",
  name: "disorder",
  about: "events that are an hour and a day late, and an hour ahead; a runner is killed meanwhile",
  invariants: "I5",
  play: async (stage) => {
    const before = { late: await counted(stage, "late"), ahead: await counted(stage, "ahead") }
    const each = 40
    await stage.inject(`${each} events an hour late, a day late, an hour ahead`, () => {
      const times = [-3_600_000, -86_400_000, 3_600_000]
      stage.load.add(
        Array.from({ length: each * times.length }, (_, n) => {
          const partition = Math.floor(stage.chance() * PARTITIONS)
          const event = {
            device: `stray.${partition}.${n % 7}`,
            ts: Date.now() + times[n % times.length],
            id: `stray-${stage.seed}-${n}`,
            load: 10,
            bytes: 1_000,
            kind: "run"
          }
          return { partition, value: JSON.stringify(event) }
        })
      )
    })
    await stage.observe("late ones are counted as late", async () =>
      (await counted(stage, "late")) >= before.late + 2 * each ? true : undefined
    )
    await stage.observe("those ahead are capped", async () =>
      (await counted(stage, "ahead")) >= before.ahead + each ? true : undefined
    )
    const ahead = (await counted(stage, "ahead")) - before.ahead
    if (ahead !== each) stage.blame(`I5: ${ahead} events count as ahead, ${each} were`)
    await killOne(stage)
  }
}
