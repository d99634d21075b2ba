// The region's alerts by their topic: the past first, then each as it comes; other regions' and what is none left out.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import type { Alert } from "../../../src/schema/verdict/Alert.ts"
import { ALERT_TOPIC, alertCloudEvent } from "../../../src/schema/verdict/alertCloudEvent.ts"
import { AlertTopic } from "../../../src/services/ingest/AlertTopic.ts"
import { EmbeddedLog } from "../../../src/services/ingest/EmbeddedLog.ts"
import { EventLog } from "../../../src/services/ingest/EventLog.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { alertOf } from "../inspect/samples.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-alerts-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const layer = AlertTopic.layer.pipe(
  Layer.provideMerge(EmbeddedLog.layer({ filename: join(folder, "log.db"), synchronous: "normal" })),
  Layer.provideMerge(Layer.succeed(Settings, defaultConfig))
)
const utf8 = new TextEncoder()
const offsets = (alerts: ReadonlyArray<Alert>) => alerts.map(({ offset }) => offset)

it.scopedLive("gives the last of the past in order, then what comes", () =>
  Effect.gen(function* () {
    const log = yield* EventLog
    const topic = yield* AlertTopic
    yield* log.ensureTopic(ALERT_TOPIC, 1)
    const send = (values: ReadonlyArray<string>) =>
      log.append(
        ALERT_TOPIC,
        values.map((value) => ({ key: null, value: utf8.encode(value) }))
      )
    const ours = (offset: number) => JSON.stringify(alertCloudEvent(defaultConfig.region, alertOf(offset)))
    const theirs = JSON.stringify(alertCloudEvent("north", alertOf(90)))
    yield* send([ours(1), ours(2), theirs, "no alert", ours(3)])

    const past: Array<Alert> = []
    const now: Array<Alert> = []
    const both = yield* Deferred.make<void>()
    yield* topic.follow(
      4,
      (alerts) => past.push(...alerts),
      (alerts) => {
        now.push(...alerts)
        if (now.length === 2) Deferred.unsafeDone(both, Effect.void)
      }
    )
    expect(offsets(past)).toEqual([2, 3])
    yield* send([ours(4), theirs, ours(5)])
    yield* Deferred.await(both)
    expect(offsets(now)).toEqual([4, 5])
  }).pipe(Effect.provide(layer))
)
