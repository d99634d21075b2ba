#!/usr/bin/env node
// Groundstate: composition and launch. What runs is in programs/, what can be typed in services/cli.
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { programs } from "./programs/programs.ts"
import { layerCli, runCli } from "./services/cli/Cli.ts"

runCli(process.argv).pipe(
  Effect.tap((code) =>
    Effect.sync(() => {
      process.exitCode = code
    })
  ),
  Effect.provide(Layer.merge(layerCli, programs)),
  NodeRuntime.runMain({ disablePrettyLogger: true })
)
