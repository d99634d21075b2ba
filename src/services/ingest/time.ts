// Event times written as text: RFC 3339 bytes to epoch milliseconds, without a string in between.

const DAY_MILLIS = 86_400_000

/** Two decimal digits at bytes[i], or a negative number. */
const twoDigits = (bytes: Uint8Array, i: number): number => {
  const tens = bytes[i] - 48
  const ones = bytes[i + 1] - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -10_000
}

const daysInMonth = (year: number, month: number): number => {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Days from 1970-01-01 to a day of the proleptic Gregorian calendar; the year starts in March here. */
const daysFromEpoch = (year: number, month: number, day: number): number => {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  return (
    era * 146_097 +
    yearOfEra * 365 +
    Math.floor(yearOfEra / 4) -
    Math.floor(yearOfEra / 100) +
    dayOfYear -
    719_468
  )
}

/**
 * Epoch ms of the RFC 3339 date-time in bytes[start, end), or NaN where it is none.
 * `YYYY-MM-DD`, `T`, `t` or a space, `HH:MM:SS`, a fraction of any length (cut to milliseconds, never
 * rounded), and `Z`, `z` or an offset `±HH:MM`; years 0000 to 9999. Without `Z` or an offset it is no
 * RFC 3339 time. A leap second counts only where one can be, at 23:59:60 UTC, and is taken as 23:59:59.999.
 */
export const parseTimestamp = (bytes: Uint8Array, start: number, end: number): number => {
  if (end - start < 20) return Number.NaN
  const year = twoDigits(bytes, start) * 100 + twoDigits(bytes, start + 2)
  const month = twoDigits(bytes, start + 5)
  const day = twoDigits(bytes, start + 8)
  const hour = twoDigits(bytes, start + 11)
  const minute = twoDigits(bytes, start + 14)
  const second = twoDigits(bytes, start + 17)
  const separator = bytes[start + 10]
  if (
    bytes[start + 4] !== 45 ||
    bytes[start + 7] !== 45 ||
    (separator !== 84 && separator !== 116 && separator !== 32) ||
    bytes[start + 13] !== 58 ||
    bytes[start + 16] !== 58 ||
    !(year >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month)) ||
    !(hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 60)
  ) {
    return Number.NaN
  }
  let i = start + 19
  let millis = 0
  if (bytes[i] === 46) {
    const from = ++i
    let weight = 100
    for (; i < end && bytes[i] >= 48 && bytes[i] <= 57; i++) {
      if (i - from < 3) {
        millis += (bytes[i] - 48) * weight
        weight /= 10
      }
    }
    if (i === from) return Number.NaN
  }
  let offsetMinutes = 0
  if (i + 1 === end && (bytes[i] === 90 || bytes[i] === 122)) offsetMinutes = 0
  else if (i + 6 === end && (bytes[i] === 43 || bytes[i] === 45) && bytes[i + 3] === 58) {
    const offsetHour = twoDigits(bytes, i + 1)
    const offsetMinute = twoDigits(bytes, i + 4)
    if (!(offsetHour >= 0 && offsetHour <= 23 && offsetMinute >= 0 && offsetMinute <= 59)) return Number.NaN
    offsetMinutes = (offsetHour * 60 + offsetMinute) * (bytes[i] === 45 ? -1 : 1)
  } else return Number.NaN
  const minutes = hour * 60 + minute - offsetMinutes
  if (second === 60) {
    if ((minutes + 2_880) % 1_440 !== 1_439) return Number.NaN
    return daysFromEpoch(year, month, day) * DAY_MILLIS + minutes * 60_000 + 59_999
  }
  return daysFromEpoch(year, month, day) * DAY_MILLIS + minutes * 60_000 + second * 1_000 + millis
}
