// Writes to a topic with Kafka's own Java client, so that readers meet what it really puts on the wire.
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { kafkaClassPath } from "./kafka.ts"

/**
 * `batch`: 5,000 records `{"n":i,"text":…}`. `bomb`: `before`, 16 MiB of zeros, `after`. `transactions`: see
 * Producer.java. `settings` are producer properties. Blocks until all is acknowledged.
 */
export const produceWithJava = (
  brokers: ReadonlyArray<string>,
  topic: string,
  mode: "batch" | "bomb" | "transactions",
  settings: Readonly<Record<string, string>>
): void => {
  execFileSync(
    "java",
    [
      "-cp",
      kafkaClassPath(),
      fileURLToPath(new URL("./Producer.java", import.meta.url)),
      brokers.join(","),
      topic,
      mode,
      ...Object.entries(settings).map(([key, value]) => `${key}=${value}`)
    ],
    { stdio: ["ignore", "ignore", "pipe"] }
  )
}
