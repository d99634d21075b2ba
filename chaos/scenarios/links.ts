// Links that are slow, silent or gone, between one runner and the database, the broker, the others. F8 F10 F11.
import type { Told } from "../../test/support/runner.ts"
import type { RegionScenario } from "../scenario.ts"
import { PARTITIONS, type Stage } from "../stage.ts"
import { ask } from "../watch.ts"
import { even } from "./runners.ts"
import { everyPartition } from "./stores.ts"

export const delayed: RegionScenario = {
  kind: "region",
  id: "F10",
  name: "delayed-database",
  about: "what one runner and the database tell each other comes 200 ms late",
  invariants: "I1 I9 I13",
  stage: { links: [{ runner: "a", to: "database" }] },
  play: async (stage) => {
    const link = stage.link("a", "database")
    const before = link.seen().held
    const fault = "200 ms each way between a and the database"
    const at = await stage.inject(fault, () => link.delay(200))
    await stage.observe("the link holds back what is sent", async () =>
      link.seen().held > before + 10_000 ? true : undefined
    )
    await stage.last(stage.by({ short: 15_000, usual: 15_000, long: 120_000 }))
    await stage.settled()
    stage.silences({ what: fault, at, partitions: everyPartition, within: 10_000, silenceUntil: Date.now() })
    link.pass()
    await even(stage, 2)
  }
}

/** Has b all of the cells, and do they read? */
const withOther = async (stage: Stage): Promise<true | undefined> => {
  const { items } = await ask(stage.runner("b"), "/v1/cells")
  const there = (items as ReadonlyArray<Told>).filter(({ owner, paused }) => owner === "b" && paused === null)
  return there.length === PARTITIONS ? true : undefined
}

export const halfOpen: RegionScenario = {
  kind: "region",
  id: "F8 F9",
  name: "half-open-database",
  about:
    "between one runner and the database nothing arrives, and nobody is told; then in one direction only",
  invariants: "I1 I9",
  stage: { links: [{ runner: "a", to: "database" }] },
  play: async (stage) => {
    const link = stage.link("a", "database")
    for (const directions of [["there", "back"], ["back"]] as const) {
      await even(stage, 2)
      const had = (await stage.owners()).get("a") ?? []
      const before = link.seen().held
      const fault = `the link of a to the database stands still (${directions.join(" and ")})`
      const at = await stage.inject(fault, () => link.freeze(...directions))
      await stage.observe("the link holds back what is sent", async () =>
        link.seen().held > before ? true : undefined
      )
      // While the runner may still speak it does; then its cells are to go to the other, with the fault still there.
      await stage.last(stage.by({ short: 5_000, usual: 5_000, long: 60_000 }))
      const moved = await stage
        .until("the cells of a to be with the other", () => withOther(stage))
        .catch((cause: unknown) =>
          stage.blame(`F9: the cells of a did not move: ${String(cause).slice(0, 160)}`)
        )
      if (moved !== undefined)
        await stage.recovered({ what: fault, at: at + 5_000, partitions: had, within: 45_000 })
      link.reset()
      link.pass()
      await even(stage, 2)
    }
  }
}

export const brokerGone: RegionScenario = {
  kind: "region",
  id: "F11",
  name: "broker-gone-for-one",
  about: "one runner cannot reach the broker, the other can",
  invariants: "I1",
  stage: { links: [{ runner: "a", to: "broker" }] },
  play: async (stage) => {
    const link = stage.link("a", "broker")
    const had = (await stage.owners()).get("a") ?? []
    const fault = "the broker refuses a"
    const at = await stage.inject(fault, link.refuse)
    await stage.observe("the link refuses connections", async () =>
      link.seen().refused > 0 ? true : undefined
    )
    // Its partitions are to be with the other by then.
    const moved = await stage
      .recovered({ what: fault, at, partitions: had, within: 45_000 })
      .then(() => true)
      .catch((cause: unknown) => {
        stage.blame(`F11: the partitions of a did not move within 45 s: ${String(cause).slice(0, 200)}`)
        return false
      })
    link.pass()
    if (!moved) await stage.settled()
    await even(stage, 2)
  }
}

export const peersApart: RegionScenario = {
  kind: "region",
  id: "F9",
  name: "peers-apart",
  about:
    "what is sent to one runner by the others is held back, then reset; the database and the broker stay",
  invariants: "I1 I2 I9",
  stage: {
    links: [
      { runner: "a", to: "peers" },
      { runner: "b", to: "peers" }
    ]
  },
  play: async (stage) => {
    const link = stage.link("a", "peers")
    const silent = "nothing that b sends to a arrives"
    const before = link.seen().held
    const at = await stage.inject(silent, () => link.freeze("there"))
    await stage.observe("the link holds back what is sent", async () =>
      link.seen().held > before ? true : undefined
    )
    await stage.last(stage.by({ short: 10_000, usual: 10_000, long: 60_000 }))
    link.pass()
    await stage.settled()
    stage.silences({ what: silent, at, partitions: everyPartition, within: 30_000, silenceUntil: Date.now() })
    await even(stage, 2)
    const resets = link.seen().resets
    const cut = "the connections of b to a are reset"
    const cutAt = await stage.inject(cut, () => link.reset())
    await stage.observe("connections were reset", async () =>
      link.seen().resets > resets ? true : undefined
    )
    await stage.last(3_000)
    await stage.settled()
    stage.silences({
      what: cut,
      at: cutAt,
      partitions: everyPartition,
      within: 5_000,
      silenceUntil: Date.now()
    })
    await even(stage, 2)
  }
}
