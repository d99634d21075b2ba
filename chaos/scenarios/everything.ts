// All processes at once, and a region's first moments. F33 F35.
import { join } from "node:path"
import { migrations } from "../../src/services/runtime/migrations.ts"
import { startKafka } from "../../test/support/kafka.ts"
import { startPostgres } from "../../test/support/postgres.ts"
import { probeStream } from "../../test/support/probeStream.ts"
import { freePort, type RunnerProcess, startRunner, until, writeConfig } from "../../test/support/runner.ts"
import type { LoneScenario, RegionScenario } from "../scenario.ts"
import { untold } from "../scenario.ts"
import { ask } from "../watch.ts"
import { even } from "./runners.ts"
import { everyPartition } from "./stores.ts"

export const everything: RegionScenario = {
  kind: "region",
  id: "F33",
  name: "everything",
  about: "runners, PostgreSQL and Kafka are killed at once and started again in any order",
  invariants: "I1-I5 I9",
  play: async (stage) => {
    const { kafka, postgres } = stage.region
    for (let round = 0; round < stage.by({ short: 1, usual: 1, long: 10 }); round++) {
      await even(stage, 2)
      await stage.last(stage.chance() * 1_000)
      const fault = "SIGKILL a, b and Kafka, immediate stop of PostgreSQL"
      await stage.inject(fault, () =>
        Promise.all([stage.runner("a").kill9(), stage.runner("b").kill9(), kafka.kill9(), postgres.kill()])
      )
      await stage.observe("no runner answers", async () =>
        [stage.runner("a"), stage.runner("b")].some((one) => one.running()) ? undefined : true
      )
      const parts: Array<{ order: number; start: () => Promise<unknown> }> = [
        { order: stage.chance(), start: postgres.restart },
        { order: stage.chance(), start: kafka.restart },
        { order: stage.chance(), start: () => stage.region.start("a") },
        { order: stage.chance(), start: () => stage.region.start("b") }
      ]
      for (const { start } of parts.toSorted((x, y) => x.order - y.order)) await start()
      const at = Date.now()
      await stage.recovered({ what: fault, at, partitions: everyPartition, within: 60_000 })
      await even(stage, 2)
    }
  }
}

export const boot: LoneScenario = {
  kind: "alone",
  id: "F35",
  name: "boot",
  about: "two runners start at the same moment on an empty database",
  invariants: "I9",
  play: async ({ folder, length, say }) => {
    const rounds = length === "long" ? 20 : 4
    const [kafka, postgres] = await Promise.all([startKafka(), startPostgres()])
    const because: Array<string> = []
    const recoveries: Array<number> = []
    try {
      for (let round = 0; round < rounds; round++) {
        const database = await postgres.database()
        const runners: Array<RunnerProcess> = []
        const from = performance.now()
        try {
          runners.push(
            ...(await Promise.all(
              ["a", "b"].map(async (runner) =>
                startRunner(
                  writeConfig(
                    join(folder, String(round), runner),
                    {
                      region: `boot-${round}`,
                      role: "region",
                      runner,
                      log: { kind: "kafka", kafka: { brokers: kafka.brokers } },
                      database: { kind: "postgres", postgres: { url: database } },
                      cluster: { port: await freePort() },
                      telemetry: { logLevel: "warning" }
                    },
                    [probeStream]
                  )
                )
              )
            ))
          )
          for (const runner of runners) await runner.ready()
          await until("each to have half of the cells", async () => {
            const { items } = await ask(runners[0], "/v1/cells")
            const owners = items.map(({ owner }: { owner: string }) => owner)
            const halves = ["a", "b"].map((name) => owners.filter((owner: string) => owner === name).length)
            return halves.every((count) => count === items.length / 2) && items.length > 0 ? true : undefined
          })
          recoveries.push(performance.now() - from)
          const [[applied]] = await postgres.query(database, "SELECT count(*) FROM groundstate_migration")
          if (Number(applied) !== migrations.length)
            because.push(`round ${round}: ${applied} migrations were applied, there are ${migrations.length}`)
          say(`  round ${round}: both have their cells`)
        } catch (cause) {
          because.push(
            `round ${round}: ${String(cause)}; ${runners.map((one) => one.said().slice(-500)).join("; ")}`
          )
        } finally {
          for (const runner of runners) if (runner.running()) await runner.kill9()
        }
      }
    } finally {
      await kafka.stop()
      await postgres.stop()
    }
    return {
      ...untold(because.length === 0 ? "held" : "failed", ""),
      because,
      faults: Array.from({ length: rounds }, () => "two start at once on an empty database"),
      observed: ["both had half of the cells"],
      recoveries
    }
  }
}
