// The cursor of a list that walks from cell to cell: opaque to callers, checked when it comes back.
import { Either, Schema } from "effect"

/** Where the next page starts: in this cell, after this position. */
export const CellCursor = Schema.Struct({
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  after: Schema.Int.pipe(Schema.greaterThanOrEqualTo(-1))
})
export type CellCursor = typeof CellCursor.Type

const CursorText = Schema.StringFromBase64Url.pipe(Schema.compose(Schema.parseJson(CellCursor)))
const encode = Schema.encodeSync(CursorText)
const decode = Schema.decodeEither(CursorText)

/** base64url of the cursor's JSON. */
export const writeCursor = (cursor: CellCursor): string => encode(cursor)

/** The cursor that `writeCursor` wrote, or undefined for any other text. */
export const readCursor = (text: string): CellCursor | undefined => Either.getOrUndefined(decode(text))
