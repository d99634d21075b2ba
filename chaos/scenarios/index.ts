// Every scenario there is, in the order in which they are worth playing, and those that are not there yet.
import type { AbsentScenario, Scenario } from "../scenario.ts"
import { boot, everything } from "./everything.ts"
import { disorder, poison, repeats } from "./inputs.ts"
import { blocked, inference } from "./inside.ts"
import { brokerGone, delayed, halfOpen, peersApart } from "./links.ts"
import { clock, diskFull } from "./machine.ts"
import { freeze, kill, rolling, scale } from "./runners.ts"
import { settings } from "./settings.ts"
import { slow } from "./slow.ts"
import { broker, database, frozenDatabase } from "./stores.ts"
import { swaps } from "./swaps.ts"

export const scenarios: ReadonlyArray<Scenario> = [
  kill,
  freeze,
  slow,
  database,
  broker,
  rolling,
  scale,
  frozenDatabase,
  halfOpen,
  delayed,
  brokerGone,
  peersApart,
  poison,
  repeats,
  disorder,
  everything,
  boot,
  inference,
  blocked,
  swaps,
  settings,
  diskFull,
  clock
]

/** The most telling ones, which the test suite plays in one region. */
export const short: ReadonlyArray<string> = ["kill", "freeze", "database"]

export const absent: ReadonlyArray<AbsentScenario> = [
  {
    id: "F12",
    name: "group",
    kind: "absent",
    why: "cells read without a consumer group: nobody joins or leaves one"
  },
  {
    id: "F15",
    name: "throwing",
    kind: "absent",
    why: "no record is known on which the cell's code throws; test/actors/cell makes it throw"
  },
  {
    id: "F18",
    name: "codecs",
    kind: "absent",
    why: "test/chaos/badInput.test.ts has it, with batches of Java's producer"
  },
  { id: "F21-F23", name: "models", kind: "absent", why: "there are no signatures and no canaries yet" },
  {
    id: "F25",
    name: "collector",
    kind: "absent",
    why: "test/services/observe has a collector that is away, in short"
  },
  { id: "F26", name: "webhook", kind: "absent", why: "nothing is sent to webhooks yet" },
  {
    id: "F27-F29",
    name: "hostile",
    kind: "absent",
    why: "test/services/inspect has routes, roles, bodies and slow clients, bench/hostile those by the thousand"
  },
  { id: "F30", name: "audit", kind: "absent", why: "there is no audit log yet" },
  { id: "F31", name: "replicas", kind: "absent", why: "nothing is replicated between regions yet" },
  {
    id: "F32",
    name: "reaper",
    kind: "absent",
    why: "commands are volatile (decision 0005): a day's worth leaves nothing to reap"
  },
  { id: "F38", name: "upgrade", kind: "absent", why: "there is no earlier version yet" }
]
