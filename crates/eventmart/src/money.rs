//! Money as an exact decimal with two places: never a float, also not on the wire.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in the platform's one currency, exact to the cent.
///
/// Its JSON form is a string (`"1249.99"`), because a JSON number is a float to most readers; the Avro form will be
/// the decimal logical type.
///
/// ```
/// use eventmart_core::Money;
/// let price = Money::from_cents(124_999);
/// assert_eq!((price * 3).to_string(), "$3,749.97");
/// assert_eq!(serde_json::to_string(&price).unwrap(), "\"1249.99\"");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

impl Money {
    /// Nothing at all.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// An amount given in cents.
    pub fn from_cents(cents: i64) -> Self {
        Self(Decimal::new(cents, 2))
    }

    /// The amount as a decimal with two places.
    pub fn decimal(self) -> Decimal {
        let mut exact = self.0;
        exact.rescale(2);
        exact
    }

    /// The mean of `self` over `count` parts, rounded half to even to the cent; zero parts give zero.
    pub fn averaged_over(self, count: u64) -> Self {
        if count == 0 {
            Self::ZERO
        } else {
            Self((self.0 / Decimal::from(count)).round_dp(2))
        }
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Mul<u32> for Money {
    type Output = Self;
    fn mul(self, times: u32) -> Self {
        Self(self.0 * Decimal::from(times))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    /// `$12,450.00`: as people read it. The wire form is [`Money::decimal`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.decimal().abs().to_string();
        let (whole, cents) = digits.split_once('.').unwrap_or((&digits, "00"));
        let mut grouped = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let sign = if self.0.is_sign_negative() && !self.0.is_zero() {
            "-"
        } else {
            ""
        };
        write!(f, "{sign}${grouped}.{cents}")
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.decimal())
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Accepts a decimal string of at most two places; a JSON number is refused, since it may have been a float.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let amount: Decimal = text
            .parse()
            .map_err(|_| de::Error::custom(format!("{text:?} is not an amount")))?;
        if amount.scale() > 2 {
            return Err(de::Error::custom(format!(
                "{text:?} has more than two places"
            )));
        }
        Ok(Self(amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_add_up_exactly() {
        let total: Money = (0..10).map(|_| Money::from_cents(10)).sum();
        assert_eq!(total, Money::from_cents(100));
        assert_eq!(total.to_string(), "$1.00");
    }

    #[test]
    fn amounts_are_written_as_strings_with_two_places() {
        for (cents, json, shown) in [
            (0, "\"0.00\"", "$0.00"),
            (5, "\"0.05\"", "$0.05"),
            (-123_456_789, "\"-1234567.89\"", "-$1,234,567.89"),
        ] {
            let money = Money::from_cents(cents);
            assert_eq!(serde_json::to_string(&money).unwrap(), json);
            assert_eq!(serde_json::from_str::<Money>(json).unwrap(), money);
            assert_eq!(money.to_string(), shown);
        }
    }

    #[test]
    fn floats_and_fractions_of_a_cent_are_refused() {
        assert!(serde_json::from_str::<Money>("12.5").is_err());
        assert!(serde_json::from_str::<Money>("\"0.001\"").is_err());
        assert!(serde_json::from_str::<Money>("\"twelve\"").is_err());
    }

    #[test]
    fn an_average_over_nothing_is_zero() {
        assert_eq!(Money::from_cents(100).averaged_over(0), Money::ZERO);
        assert_eq!(
            Money::from_cents(100).averaged_over(3),
            Money::from_cents(33)
        );
    }
}
