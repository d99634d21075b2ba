// What must have come out: the log of the run is computed anew, one record at a time, by the cell's own code in this
// process, and everything that the region wrote is compared with it.
import { isDeepStrictEqual } from "node:util"
import { Effect } from "effect"
import { makeCellCore } from "../src/actors/cell/cellCore.ts"
import { ALERT_TOPIC, alertCloudEvent } from "../src/schema/verdict/alertCloudEvent.ts"
import { DEAD_LETTER_TOPIC } from "../src/services/ingest/DeadLetters.ts"
import { KafkaLog } from "../src/services/ingest/KafkaLog.ts"
import { layerPostgres } from "../src/services/runtime/Postgres.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { eachBatch, readTopic, restoredStates } from "../test/support/cellFiles.ts"
import { planOfChaos } from "../test/support/chaosStream.ts"
import { makeRecompute, type Outcome } from "../test/support/recompute.ts"
import type { RegionWorld } from "../test/support/region.ts"
import { postgresSettings } from "../test/support/regionDatabase.ts"
import type { Told } from "../test/support/runner.ts"
import type { Load } from "./load.ts"
import { PARTITIONS, stageStream, TOPIC } from "./stage.ts"

export interface Judgement {
  /** A sentence for each thing that does not hold, with its invariant's id. */
  readonly broken: ReadonlyArray<string>
  readonly events: number
  readonly lost: number
  readonly doubled: number
  /** Further copies of alerts with the same id and the same content: allowed, and counted. */
  readonly copies: number
  readonly alerts: number
  readonly deadLetters: number
  readonly alertsEqual: boolean
  readonly statesEqual: boolean
  /** Owners one after the other, over all cells. */
  readonly epochs: number
  /** When the broker took the first alert of each probe, epoch ms. */
  readonly alertedAt: ReadonlyMap<string, number>
}

/** The region as the runners' settings name it. */
const REGION = "test"
const NAMED_MAX = 3
const NAME_LENGTH_MAX = 80
/** A letter on the topic keeps less of a very large record; so much, in base64, of any. */
const LETTER_TEXT_MAX = 900_000

const text = new TextDecoder()
const parsed = (value: Uint8Array | null): Told => JSON.parse(text.decode(value ?? new Uint8Array(0)))
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const shortened = (ids: ReadonlyArray<string>) =>
  ids.slice(0, NAMED_MAX).map((id) => id.slice(0, NAME_LENGTH_MAX))
const named = (ids: ReadonlyArray<string>) => `${ids.length} (such as ${shortened(ids).join(", ")})`

/** The log of every partition, computed anew. */
const recomputed = (plan: ReturnType<typeof planOfChaos>) =>
  Effect.gen(function* () {
    const outcomes: Array<Outcome> = []
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const recompute = makeRecompute({
        core: makeCellCore(plan, defaultConfig.cell, partition),
        key: { stream: plan.stream, partition },
        topic: TOPIC,
        commands: [],
        resolveMillis: defaultConfig.device.resolveAfter
      })
      const end = yield* eachBatch(TOPIC, partition, recompute.take)
      outcomes.push(recompute.outcome(end))
    }
    return outcomes
  })

const columnsThatDiffer = (
  found: Readonly<Record<string, unknown>>,
  wanted: Readonly<Record<string, unknown>>
) => Object.keys(wanted).filter((key) => !isDeepStrictEqual(found[key], wanted[key]))

/** Call when all runners have ended in order. */
export const judge = async (region: RegionWorld, load: Load): Promise<Judgement> => {
  const plan = planOfChaos(stageStream)
  const log = KafkaLog.layer({ brokers: region.kafka.brokers, clientId: "oracle" })
  const read = (topic: string) => Effect.runPromise(readTopic(topic).pipe(Effect.provide(log)))
  const [input, sent, buried] = [await read(TOPIC), await read(ALERT_TOPIC), await read(DEAD_LETTER_TOPIC)]
  const outcomes = await Effect.runPromise(recomputed(plan).pipe(Effect.provide(log)))
  const broken: Array<string> = []
  let lost = 0
  let doubled = 0
  const missing = (what: string, ids: ReadonlyArray<string>) => {
    if (ids.length === 0) return
    lost += ids.length
    broken.push(`${what} missing: ${named(ids)}`)
  }
  const tooMany = (what: string, ids: ReadonlyArray<string>) => {
    if (ids.length === 0) return
    doubled += ids.length
    broken.push(`${what}: ${named(ids)}`)
  }

  // I1: what was acknowledged lies in the log; what lies in the log is in the state below.
  const inLog = new Set(
    input.records.flatMap(({ value }) => {
      try {
        const id = parsed(value).id
        return typeof id === "string" ? [id] : []
      } catch {
        return []
      }
    })
  )
  missing(
    "I1: acknowledged events",
    [...load.acknowledged].filter((id) => !inLog.has(id))
  )

  // I3: alerts on the topic and in the devices' records, by id and whole.
  const expected = new Map(
    outcomes.flatMap(({ alerts }) =>
      [...alerts].map(([id, alert]) => [id, asJson(alertCloudEvent(REGION, alert))] as const)
    )
  )
  const found = new Map<string, unknown>()
  const alertedAt = new Map<string, number>()
  const contradicted: Array<string> = []
  let copies = 0
  for (const { timestamp, value } of sent.records) {
    const event = parsed(value)
    const before = found.get(event.id)
    if (before !== undefined) {
      copies++
      if (!isDeepStrictEqual(before, event)) contradicted.push(event.id)
      continue
    }
    found.set(event.id, event)
    if (!alertedAt.has(event.subject)) alertedAt.set(event.subject, timestamp)
  }
  const absent = [...expected.keys()].filter((id) => !found.has(id))
  const surplus = [...found.keys()].filter((id) => !expected.has(id))
  const other = [...expected].flatMap(([id, event]) =>
    found.has(id) && !isDeepStrictEqual(found.get(id), event) ? [id] : []
  )
  missing("I3: alerts", absent)
  tooMany("I3: alerts that no undisturbed run raises", surplus)
  tooMany("I3: alerts told in two ways under one id", contradicted)
  tooMany("I3: alerts told otherwise than by an undisturbed run", other)
  const taken = await region.postgres.query(region.database, "SELECT id FROM alert")
  const takenIds = new Set(taken.map(([id]) => String(id)))
  const untaken = [...expected.keys()].filter((id) => !takenIds.has(id))
  const overtaken = [...takenIds].filter((id) => !expected.has(id))
  missing("I3: alerts in their devices' records", untaken)
  tooMany("I2: alerts in devices' records that no undisturbed run raises", overtaken)
  const differing = [absent, surplus, contradicted, other, untaken, overtaken]
  const alertsEqual = differing.every((list) => list.length === 0)

  // I4: dead letters, with their bytes and reasons.
  const letterText = (letter: Told) =>
    [letter.id, letter.reason, letter.size, String(letter.bytes).slice(0, LETTER_TEXT_MAX)].join(" ")
  const letters = new Set(buried.records.map(({ value }) => letterText(parsed(value))))
  const wanted = new Set(
    outcomes.flatMap((outcome) =>
      [...outcome.letters.values()].map((letter) =>
        letterText({ ...letter, bytes: Buffer.from(letter.bytes).toString("base64") })
      )
    )
  )
  missing(
    "I4: dead letters",
    [...wanted].filter((letter) => !letters.has(letter))
  )
  tooMany(
    "I4: dead letters of events that were scored",
    [...letters].filter((letter) => !wanted.has(letter))
  )

  // I1 I2 I5: every column of every device, counters, windows and remembered ids, as the last checkpoint has them.
  const states = await Effect.runPromise(
    restoredStates(plan, PARTITIONS, defaultConfig).pipe(
      Effect.provide(
        layerPostgres({
          postgres: postgresSettings(region.database),
          applicationName: "oracle",
          connectionsMax: 4
        })
      )
    )
  )
  let statesEqual = true
  states.forEach((state, partition) => {
    const differ = columnsThatDiffer(state, outcomes[partition].state)
    if (differ.length === 0) return
    statesEqual = false
    broken.push(
      `I2: the state of cell ${partition} at ${state.nextOffset} of ${input.ends[partition]} differs in ${differ.join(", ")}`
    )
  })

  // I9: no older epoch writes after a newer one, and offsets never go back.
  const writes = await region.postgres.query(
    region.database,
    "SELECT kind, partition_id, epoch, next_offset FROM chaos_write ORDER BY id"
  )
  const newest = new Map<string, { epoch: number; offset: number }>()
  let epochs = 0
  for (const [kind, partition, epochText, offsetText] of writes) {
    const [epoch, offset] = [Number(epochText), Number(offsetText)]
    const before = newest.get(String(partition)) ?? { epoch: 0, offset: 0 }
    if (epoch < before.epoch)
      broken.push(`I9: cell ${partition}: ${kind} of epoch ${epoch} after ${before.epoch}`)
    if (kind === "save" && offset < before.offset)
      broken.push(`I9: cell ${partition}: a checkpoint at ${offset} after one at ${before.offset}`)
    if (kind === "claim") epochs++
    newest.set(String(partition), {
      epoch: Math.max(epoch, before.epoch),
      offset: Math.max(offset, before.offset)
    })
  }
  return {
    broken,
    events: load.records(),
    lost,
    doubled,
    copies,
    alerts: expected.size,
    deadLetters: wanted.size,
    alertsEqual,
    statesEqual,
    epochs,
    alertedAt
  }
}
