// F16 and F17: records that nothing may take, each with the reason that it must get.
import { T0 } from "./chaosStream.ts"

const utf8 = new TextEncoder()
const event = (inside: string) => `{"device":"d1","ts":${T0},${inside}}`

export const badCorpus: ReadonlyArray<
  readonly [name: string, reason: string, value: string | Uint8Array | null]
> = [
  ["cut JSON", "bad-json", '{"device":"d1","ts":'],
  ["not JSON", "bad-json", "device=d1 load=3"],
  ["bad UTF-8", "bad-utf8", Uint8Array.of(0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d)],
  ["a duplicate key", "duplicate-key", event('"load":1,"load":2')],
  ["a duplicate key, one escaped", "duplicate-key", event('"load":1,"lo\\u0061d":2')],
  ["10^5 levels", "too-deep", event(`"x":${"[".repeat(100_000)}${"]".repeat(100_000)}`)],
  ["10^5 levels that never close", "too-deep", event(`"x":${'{"a":'.repeat(100_000)}`)],
  ["a device by its prototype alone", "missing-device", `{"__proto__":{"device":"d1"},"ts":${T0}}`],
  ["NaN", "bad-json", event('"load":NaN')],
  ["Infinity", "bad-json", event('"load":-Infinity')],
  ["1e999", "number-out-of-range", event('"load":1e999')],
  ["2^53 + 1", "unsafe-integer", event('"load":9007199254740993')],
  ["a byte order mark", "byte-order-mark", `\uFEFF${event('"load":1')}`],
  ["no bytes", "empty", new Uint8Array(0)],
  ["a tombstone", "tombstone", null],
  ["an array", "not-an-object", `[${event('"load":1')}]`],
  ["a text for a number", "wrong-type", event('"load":"12"')],
  ["no time", "missing-time", '{"device":"d1","load":1}'],
  ["a device of 600 bytes", "bad-device", `{"device":"${"x".repeat(600)}","ts":${T0}}`],
  ["1.1 MB", "too-large", event(`"note":"${"x".repeat(1_100_000)}"`)],
  ["10 MB", "too-large", event(`"note":"${"x".repeat(10_000_000)}"`)],
  ["10^6 fields", "too-large", event(Array.from({ length: 1_000_000 }, (_, n) => `"f${n}":${n}`).join(","))]
]

export const bytesOf = (value: string | Uint8Array | null) =>
  typeof value === "string" ? utf8.encode(value) : value
