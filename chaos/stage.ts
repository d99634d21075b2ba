// What a scenario has in its hands: a region under load, the means to harm it, and a record of what was done and seen.
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import { ALERT_TOPIC } from "../src/schema/verdict/alertCloudEvent.ts"
import { chaosStream } from "../test/support/chaosStream.ts"
import { seeded } from "../test/support/folding.ts"
import { type RegionOptions, type RegionWorld, startRegion } from "../test/support/region.ts"
import { passes, type RunnerProcess, type Told, until } from "../test/support/runner.ts"
import { type History, now, openHistory } from "./history.ts"
import { type Link, openLinks } from "./links.ts"
import { type Load, type LoadOptions, startLoad } from "./load.ts"
import type { Proxy } from "./proxy.ts"
import { cellsOf, diagnose, processState, reportOptions, startWatch, type Watch } from "./watch.ts"

export const PARTITIONS = 8
export const TOPIC = "flows"

/** The stream of the runs: the tests' own, over more partitions. */
export const stageStream = {
  ...chaosStream,
  source: { ...chaosStream.source, partitions: PARTITIONS },
  ladder: ["baseline", "rules"]
}

/** A fault, and what it hit. */
export interface Mark {
  readonly what: string
  /** From when recovery counts: the fault, or where nothing can go on before, its end. Epoch ms. */
  readonly at: number
  readonly partitions: ReadonlyArray<number>
  /** What the contract allows, ms. */
  readonly within: number
  /** Where cells are handed over in order, the longest silence of one until then counts instead. Epoch ms. */
  readonly silenceUntil?: number
}

/** short: for the test suite; long: as the contract has it. */
export type Length = "short" | "usual" | "long"

export interface StageOptions {
  readonly seed: number
  readonly folder: string
  readonly name: string
  readonly length: Length
  readonly kills: number | undefined
  readonly load?: Partial<LoadOptions>
  readonly region?: Pick<RegionOptions, "settings" | "brokerSettings">
  readonly links?: ReadonlyArray<Link>
  /** Environment of each runner. */
  readonly environment?: (folder: string, runner: string) => Readonly<Record<string, string>>
  readonly runners?: ReadonlyArray<string>
  readonly say: (text: string) => void
}

export interface Stage {
  readonly seed: number
  readonly length: Length
  readonly kills: number | undefined
  /** What of three fits the run's length. */
  readonly by: <A>(lengths: Readonly<Record<Length, A>>) => A
  readonly chance: () => number
  readonly folder: string
  readonly region: RegionWorld
  readonly link: (runner: string, to: Link["to"]) => Proxy
  readonly load: Load
  readonly watch: Watch
  readonly history: History
  readonly faults: ReadonlyArray<string>
  readonly observed: ReadonlyArray<string>
  readonly marks: ReadonlyArray<Mark>
  readonly blamed: ReadonlyArray<string>
  readonly runner: (name: string) => RunnerProcess
  /** Partitions by owner now; waits until every cell reads. */
  readonly owners: () => Promise<ReadonlyMap<string, ReadonlyArray<number>>>
  /** Harms something; answers when, epoch ms. */
  readonly inject: (what: string, harm: () => unknown) => Promise<number>
  /** Waits for a sign that the fault had an effect; a run without one is void. */
  readonly observe: <A>(
    what: string,
    look: () => Promise<A | undefined>,
    deadlineMillis?: number
  ) => Promise<A>
  /** Waits until these partitions have scored what was sent after `mark.at`; how long it took is told at the end. */
  readonly recovered: (mark: Mark) => Promise<void>
  /** No cell may have been silent for longer than `mark.within`; how long the longest was is told at the end. */
  readonly silences: (mark: Mark & { readonly silenceUntil: number }) => void
  /** Something of the contract that does not hold; the run goes on. */
  readonly blame: (what: string) => void
  /** Waits until every cell reads and is less than a second behind. */
  readonly settled: (deadlineMillis?: number) => Promise<void>
  /** Lets the fault last. */
  readonly last: (millis: number) => Promise<void>
  readonly until: typeof until
  readonly say: (text: string) => void
}

/** Sized for two cores that also hold broker, database and this process. */
const DEFAULT_LOAD = { rate: 250, devices: 2_000, probeEvery: 200, badShare: 0.005, repeatShare: 0.001 }
/** Every deadline of a stage is at least this: other work may hold the machine meanwhile. */
const PATIENCE_MILLIS = 60_000

export const openStage = async (options: StageOptions): Promise<Stage & { close: () => Promise<void> }> => {
  const { folder, length, name, say, seed } = options
  mkdirSync(folder, { recursive: true })
  const history = openHistory(join(folder, "history.jsonl"))
  history.write("run", { name, seed, length })
  const links = await openLinks(options.links ?? [])
  const region = await startRegion({
    ...options.region,
    folder: join(folder, "runners"),
    stream: stageStream,
    relays: links.relays,
    runnerOf: async (runner, usual, places) => {
      const more = options.environment?.(folder, runner) ?? {}
      return {
        ...(await links.runnerOf(runner, usual, places)),
        environment: {
          ...more,
          NODE_OPTIONS: `${reportOptions(folder)} ${more["NODE_OPTIONS"] ?? ""}`.trim()
        }
      }
    }
  })
  const faults: Array<string> = []
  const observed: Array<string> = []
  const marks: Array<Mark> = []
  const blamed: Array<string> = []
  let watch: Watch | undefined

  /** Waits with a deadline; where it passes, or nothing moves, what there is to see is written down. */
  const patient: typeof until = async (what, look, deadlineMillis = PATIENCE_MILLIS) => {
    try {
      const waiting = until(what, look, Math.max(deadlineMillis, PATIENCE_MILLIS))
      return await (watch === undefined ? waiting : Promise.race([waiting, watch.broken]))
    } catch (cause) {
      const path = await diagnose(region, folder, String(cause))
      throw new Error(`${cause instanceof Error ? cause.message : String(cause)} (see ${path})`)
    }
  }
  const owners = () =>
    patient("every cell to have an owner", async () => {
      const told = await cellsOf(region)
      if (told === undefined || told.unreachable.length > 0) return undefined
      const found = new Map<string, Array<number>>()
      for (const cell of told.items as ReadonlyArray<Told>) {
        if (cell.paused !== null) return undefined
        found.set(cell.owner, [...(found.get(cell.owner) ?? []), cell.partition])
      }
      return [...found.values()].flat().length === PARTITIONS ? found : undefined
    })

  const close = async () => {
    watch?.stop()
    for (const runner of region.runners.values()) {
      if (runner.running() && processState(runner.pid) === "T") process.kill(runner.pid, "SIGCONT")
    }
    await region.stop()
    await links.close()
    await history.close()
  }
  try {
    const started = await Promise.all((options.runners ?? ["a", "b"]).map(region.start))
    await Promise.all(started.map((runner) => runner.ready()))
    await prepare(region)
    await owners()
    const load = await startLoad({
      ...DEFAULT_LOAD,
      ...options.load,
      seed,
      brokers: region.kafka.brokers,
      topic: TOPIC,
      partitions: PARTITIONS,
      history
    })
    const watching = startWatch(region, history, folder)
    watch = watching
    const settled = (deadlineMillis?: number) =>
      patient(
        "every cell to read and to be less than a second behind",
        async () => {
          const told = await cellsOf(region)
          if (told === undefined) throw new Error("no runner answers")
          const behind = (told.items as ReadonlyArray<Told>).filter(
            (cell) => cell.paused !== null || cell.oldestEventAgeSeconds >= 1
          )
          if (told.unreachable.length === 0 && told.items.length === PARTITIONS && behind.length === 0)
            return true
          throw new Error(
            `unreachable ${JSON.stringify(told.unreachable)}; behind ${JSON.stringify(
              behind.map(({ lag, owner, partition, paused }) => ({ partition, owner, lag, paused }))
            )}`
          )
        },
        deadlineMillis
      ).then(() => undefined)
    await settled()
    return {
      seed,
      length,
      by: (lengths) => lengths[length],
      kills: options.kills,
      chance: seeded(seed),
      folder,
      region,
      link: links.of,
      load,
      watch: watching,
      history,
      faults,
      observed,
      marks,
      blamed,
      owners,
      silences: (mark) => marks.push(mark),
      blame: (what) => blamed.push(what),
      say,
      until: patient,
      runner: (one) => {
        const found = region.runners.get(one)
        if (found === undefined) throw new Error(`there is no runner ${one}`)
        return found
      },
      inject: async (what, harm) => {
        faults.push(what)
        history.write("fault", { fault: what, outcome: "invoke" })
        const at = now()
        await harm()
        history.write("fault", { fault: what, outcome: "ok" })
        say(`  ${what}`)
        return at
      },
      observe: async (what, look, deadlineMillis) => {
        const seen = await patient(what, look, deadlineMillis)
        observed.push(what)
        history.write("observed", { effect: what })
        return seen
      },
      recovered: async (mark) => {
        marks.push(mark)
        const open = new Set(mark.partitions)
        await patient(
          `partitions ${mark.partitions.join(", ")} to score again after: ${mark.what}`,
          async () => {
            const told = await cellsOf(region)
            const missing: Array<number> = []
            for (const partition of open) {
              const probe = load.probes[partition].find(
                ({ offset, sentAt }) => sentAt >= mark.at && offset >= 0
              )
              const cell = (told?.items as ReadonlyArray<Told> | undefined)?.find(
                (one) => one.partition === partition
              )
              if (probe !== undefined && cell !== undefined && cell.offset > probe.offset)
                open.delete(partition)
              else missing.push(partition)
            }
            if (missing.length === 0) return true
            throw new Error(`${missing.join(", ")} do not yet`)
          },
          mark.within
        )
        history.write("recovered", { fault: mark.what, afterMillis: now() - mark.at })
      },
      settled,
      last: async (millis) => {
        watching.expectStill(millis)
        await Promise.race([passes(millis), watching.broken])
      },
      close
    }
  } catch (cause) {
    await close()
    throw cause
  }
}

/** `ConfigResourceTypes.TOPIC`, which the client's module does not export by name at run time. */
const TOPIC_RESOURCE = 2

const stampAlerts = async (brokers: ReadonlyArray<string>) => {
  const admin = new KafkaJs({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    await until("the topic of alerts", async () =>
      (await admin.listTopics()).includes(ALERT_TOPIC) ? true : undefined
    )
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: TOPIC_RESOURCE,
          name: ALERT_TOPIC,
          configEntries: [{ name: "message.timestamp.type", value: "LogAppendTime" }]
        }
      ]
    })
  } finally {
    await admin.disconnect()
  }
}

/**
 * Writes of a cell's state leave a trace in the order in which they were done: the rows are locked by their writers. The
 * broker stamps alerts as it takes them, so that recovery is told by one clock that no runner has.
 */
const prepare = async (region: RegionWorld) => {
  await region.postgres.query(
    region.database,
    `CREATE TABLE chaos_write (id BIGSERIAL PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
       kind TEXT NOT NULL, partition_id BIGINT NOT NULL, epoch BIGINT NOT NULL, next_offset BIGINT NOT NULL);
     CREATE FUNCTION chaos_note_epoch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO chaos_write (kind, partition_id, epoch, next_offset)
       VALUES ('claim', NEW.partition_id, NEW.epoch, -1); RETURN NEW; END $$;
     CREATE FUNCTION chaos_note_save() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO chaos_write (kind, partition_id, epoch, next_offset)
       VALUES ('save', NEW.partition_id, NEW.epoch, NEW.next_offset); RETURN NEW; END $$;
     CREATE TRIGGER chaos_epoch AFTER INSERT OR UPDATE ON cell_epoch
       FOR EACH ROW EXECUTE FUNCTION chaos_note_epoch();
     CREATE TRIGGER chaos_save AFTER INSERT OR UPDATE ON cell_checkpoint
       FOR EACH ROW EXECUTE FUNCTION chaos_note_save();`
  )
  await stampAlerts(region.kafka.brokers)
}
