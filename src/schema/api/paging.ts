// What every list of the HTTP surface has in common: a bounded page, and an opaque cursor to the next.
import { Schema } from "effect"
import { StreamName } from "../Ids.ts"

export const PAGE_ITEMS_MAX = 1_000
export const PAGE_ITEMS_DEFAULT = 100

/** `?limit=`: items of one page. */
export const Limit = Schema.optionalWith(
  Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, PAGE_ITEMS_MAX)).annotations({
    description: `items of one page, 1 to ${PAGE_ITEMS_MAX}; ${PAGE_ITEMS_DEFAULT} by default`
  }),
  { default: () => PAGE_ITEMS_DEFAULT }
)

/** `?cursor=`: where the page before ended. */
export const Cursor = Schema.optional(
  Schema.NonEmptyString.pipe(Schema.maxLength(2_048)).annotations({
    description: "`next` of the page before; opaque"
  })
)

/** `?stream=`: may be left out wherever only one stream is served. */
export const StreamParam = Schema.optional(
  StreamName.annotations({ description: "name of the stream; may be left out where only one is served" })
)

/** One page; `next` is null on the last. */
export const pageOf = <A, I>(item: Schema.Schema<A, I>) =>
  Schema.Struct({
    items: Schema.Array(item),
    next: Schema.NullOr(Schema.String).annotations({
      description: "cursor of the page after; null on the last"
    })
  })
