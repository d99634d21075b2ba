// Generates event texts for the decoder's property tests: mostly good, in every spelling JSON allows, and broken ones.
import fc from "fast-check"

const space = fc.oneof(
  { weight: 12, arbitrary: fc.constant("") },
  { weight: 3, arbitrary: fc.constant(" ") },
  { weight: 1, arbitrary: fc.constantFrom("\n", "\t", "\r\n", "   ") }
)

/** Numbers as texts: ordinary ones, and those at the borders of what a double and the scanner can hold. */
export const numberText = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -100_000, max: 100_000 }).map(String) },
  { weight: 6, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map(String) },
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom("", "-"), fc.bigInt(0n, 10n ** 21n), fc.nat(24))
      .map(([sign, digits, at]) => {
        const text = String(digits).padStart(at + 1, "0")
        return (
          sign +
          (at === 0
            ? text.replace(/^0+(?=\d)/, "")
            : `${text.slice(0, -at).replace(/^0+(?=\d)/, "")}.${text.slice(-at)}`)
        )
      })
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.integer({ min: -999, max: 999 }),
        fc.constantFrom("e", "E", "e+", "E-", "e-", "e0", "e-00"),
        fc.nat(340)
      )
      .map(([mantissa, e, exponent]) => `${mantissa}${e}${exponent}`)
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      "0",
      "-0",
      "0.0",
      "-0.0",
      "0e0",
      "-0e1",
      "9007199254740991",
      "9007199254740992",
      "-9007199254740991",
      "-9007199254740993",
      "9007199254740993.0",
      "999999999",
      "1000000000",
      "999999999999999",
      "1000000000000000",
      "0.1",
      "0.30000000000000004",
      "123456789.123456",
      "0.000000000000001",
      "0.0000000000000001",
      "1e22",
      "1e23",
      "5e-324",
      "2e-324",
      "1e-400",
      "1e308",
      "1e309",
      "-1e999",
      "1.7976931348623157e308",
      "1.7976931348623159e308",
      "123456789012345678901234567890"
    )
  }
)

/** A string as JSON, some of its characters escaped though they needn't be. */
const quoted = (text: string, escapes: ReadonlyArray<number>): string => {
  let spelled = ""
  for (let i = 0; i < text.length; i++) {
    const way = escapes.length === 0 ? 9 : escapes[i % escapes.length]
    const unit = text.charCodeAt(i)
    if (way === 0) spelled += `\\u${unit.toString(16).padStart(4, "0")}`
    else if (way === 1 && text[i] === "/") spelled += "\\/"
    else spelled += JSON.stringify(text[i]).slice(1, -1)
  }
  // Halves of a pair are escaped above by JSON.stringify when they stand alone; put whole pairs back.
  return `"${spelled.replace(/\\u(d[89ab]..)\\u(d[c-f]..)/g, (whole, high, low) =>
    escapes.length > 0 ? whole : String.fromCharCode(Number.parseInt(high, 16), Number.parseInt(low, 16))
  )}"`
}

const escapes = fc.oneof(
  { weight: 5, arbitrary: fc.constant<ReadonlyArray<number>>([]) },
  { weight: 1, arbitrary: fc.array(fc.nat(4), { minLength: 1, maxLength: 5 }) }
)

const someText = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "",
      "äöü",
      "日本語の端末",
      "😀",
      "a\u0000b",
      'quo"te',
      "back\\slash",
      "\u2028",
      "\ud800",
      "x".repeat(600),
      "é".repeat(600)
    )
  }
)

export const stringText = fc.tuple(someText, escapes).map(([text, ways]) => quoted(text, ways))

const { value: nestedText } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    numberText,
    stringText,
    fc.constantFrom("true", "false", "null"),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => `[${items.join(",")}]`),
    fc
      .array(fc.tuple(stringText, space, tie("value")), { maxLength: 3 })
      .map((items) => `{${items.map(([key, gap, item]) => `${key}${gap}:${gap}${item}`).join(`,`)}}`)
  )
})) as { value: fc.Arbitrary<string> }

const anyValue = fc.oneof(numberText, stringText, fc.constantFrom("true", "false", "null"), nestedText)

const often = (usual: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 14, arbitrary: usual }, { weight: 1, arbitrary: anyValue })

const name = fc
  .tuple(fc.constantFrom("dev-1", "dev-2", "host.example", "端末", "d".repeat(512), "7"), escapes)
  .map(([text, ways]) => quoted(text, ways))

const timeText = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1_759_999_000_000, max: 1_760_000_400_000 }).map(String) },
  {
    weight: 2,
    arbitrary: fc
      .integer({ min: 0, max: 1_900_000_000_000 })
      .map((millis) => JSON.stringify(new Date(millis).toISOString()))
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '"2016-12-31T23:59:60Z"',
      '"2025-10-09 08:53:20.5+02:00"',
      "1.76e12",
      "1760000000000.5",
      "-1",
      "8640000000000001"
    )
  }
)

const member = fc
  .oneof(
    { weight: 3, arbitrary: often(numberText).map((value) => ["load", value]) },
    { weight: 3, arbitrary: often(numberText).map((value) => ["temp", value]) },
    { weight: 2, arbitrary: often(fc.constantFrom("true", "false")).map((value) => ["up", value]) },
    { weight: 2, arbitrary: often(stringText).map((value) => ["proto", value]) },
    {
      weight: 2,
      arbitrary: often(fc.oneof(stringText, fc.constantFrom("7", "-7", "true"))).map((value) => [
        "user",
        value
      ])
    },
    {
      weight: 2,
      arbitrary: often(fc.oneof(name, fc.constantFrom("7", "123456789012345678901"))).map((value) => [
        "id",
        value
      ])
    },
    {
      weight: 4,
      arbitrary: fc.tuple(
        fc.oneof(
          fc.constantFrom(
            "loa",
            "loadx",
            "dev\u0131ce",
            "",
            "__proto__",
            "constructor",
            "toString",
            "größe",
            "LOAD"
          ),
          someText
        ),
        anyValue
      )
    }
  )
  .map((pair) => pair as [string, string])

interface Draft {
  readonly members: ReadonlyArray<readonly [string, string]>
  readonly gaps: ReadonlyArray<string>
  readonly ways: ReadonlyArray<number>
}

const spell = ({ members, gaps, ways }: Draft): string => {
  let n = 0
  const gap = () => gaps[n++ % gaps.length]
  const inner = members
    .map(([key, value]) => `${gap()}${quoted(key, ways)}${gap()}:${gap()}${value}${gap()}`)
    .join(",")
  return `${gap()}{${inner === "" ? gap() : inner}}${gap()}`
}

const draft = (repeats: boolean): fc.Arbitrary<Draft> =>
  fc
    .record({
      device: fc.option(often(fc.oneof(name, fc.constantFrom("42", "-42"))), { freq: 30 }),
      time: fc.option(often(timeText), { freq: 30 }),
      others: repeats
        ? fc.array(member, { maxLength: 8 })
        : fc.uniqueArray(member, { maxLength: 8, selector: ([key]) => key }),
      order: fc.array(fc.nat(1_000), { minLength: 12, maxLength: 12 }),
      gaps: fc.oneof(
        { weight: 3, arbitrary: fc.constant([""]) },
        { weight: 1, arbitrary: fc.array(space, { minLength: 1, maxLength: 7 }) }
      ),
      ways: fc.oneof(
        { weight: 9, arbitrary: fc.constant<ReadonlyArray<number>>([]) },
        { weight: 1, arbitrary: escapes }
      )
    })
    .map(({ device, time, others, order, gaps, ways }) => {
      const members: Array<readonly [string, string]> = [...others]
      if (device !== null) members.push(["device", device])
      if (time !== null) members.push(["ts", time])
      const ranked = members.map((pair, i) => [order[i % order.length], pair] as const)
      return { members: ranked.sort((a, b) => a[0] - b[0]).map(([, pair]) => pair), gaps, ways }
    })

/** Texts of events that may repeat any key. */
export const eventText = draft(true).map(spell)

/** Does this member follow JSON.parse's own rules? Identity, and categories that are numbers, have others. */
const isPlain = ([key, value]: readonly [string, string]): boolean =>
  key === "user" || key === "proto" ? !/^-?\d/.test(value) : key !== "device" && key !== "ts" && key !== "id"

/** Texts of events that repeat no key, each with an `owner`, and none of what JSON.parse has no say in. */
export const plainEventText = draft(false).map((event) =>
  spell({ ...event, members: [...event.members.filter(isPlain), ["owner", '"o"']] })
)

/** Changes to the bytes of an event: flips, cuts, insertions, removals, doublings. */
const mutation = fc.record({
  how: fc.constantFrom("flip", "cut", "insert", "remove", "double", "replace"),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  byte: fc.oneof(
    fc.nat(255),
    fc.constantFrom(
      ...Buffer.from('{}[]":,\\0123456789-+.eE \ntfn'),
      0xc0,
      0x80,
      0xed,
      0xf4,
      0xef,
      0,
      0x1f,
      0x7f
    )
  ),
  length: fc.integer({ min: 1, max: 12 })
})

const mutate = (
  bytes: Uint8Array,
  { how, at, byte, length }: { how: string; at: number; byte: number; length: number }
): Uint8Array => {
  if (bytes.length === 0) return bytes
  const i = Math.min(bytes.length - 1, Math.floor(at * bytes.length))
  if (how === "cut") return bytes.slice(0, i)
  if (how === "flip" || how === "replace") {
    const changed = bytes.slice()
    changed[i] = how === "flip" ? changed[i] ^ (1 << (byte & 7)) : byte
    return changed
  }
  const insertion = how === "insert" ? [byte] : how === "double" ? bytes.slice(i, i + length) : []
  const rest = bytes.slice(how === "remove" ? i + length : i)
  return Uint8Array.from([...bytes.slice(0, i), ...insertion, ...rest])
}

/** Bytes of events, whole and broken. */
export const eventBytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 3, arbitrary: eventText.map((text): Uint8Array => Buffer.from(text, "utf8")) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(eventText, fc.array(mutation, { minLength: 1, maxLength: 3 }))
      .map(([text, changes]) => changes.reduce(mutate, new Uint8Array(Buffer.from(text, "utf8"))))
  }
)
