//! Who a customer is: what an invoice needs. Nobody but billing knows it. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use web::condition::Tag;
use web::problem::FieldError;
use web::text::is_hidden;

/// Name and address, as the customer states them. `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// Of a person or a company. Like the lines of the address it has no character that nobody sees.
    #[schema(min_length = 1, max_length = 120, example = "Ada Lovelace")]
    pub name: String,
    /// The postal address without the country: one line each.
    #[schema(min_items = 1, max_items = 6, example = json!(["Ockham Park", "Surrey"]))]
    pub address: Vec<String>,
    /// ISO 3166-1 alpha-2, such as `DE`.
    #[schema(schema_with = countries)]
    pub country: String,
    /// Where to write to.
    #[schema(max_length = 254, pattern = r"^\s*[^@\s]+@[^@\s]+\s*$", example = "ada@example.org")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Of a company that is taxed, such as `DE123456789`.
    #[schema(pattern = r"^\s*[A-Z]{2}[A-Z0-9]{2,13}\s*$", example = "GB999999973")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_id: Option<String>,
}

/// The longest name and line, in characters.
const LONGEST_LINE: usize = 120;
/// So many lines fit above an invoice.
const MOST_LINES: usize = 6;
/// The longest address of electronic mail, in characters (RFC 5321).
const LONGEST_EMAIL: usize = 254;
/// How long a VAT id is without its country, in characters: the longest of the Union's has 12.
const VAT_ID_LENGTH: std::ops::RangeInclusive<usize> = 2..=13;

/// Every country, by ISO 3166-1 alpha-2; `EL` and `XI`, which stand in VAT ids for Greece and Northern Ireland, are none.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ \
    FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT \
    JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP \
    MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE \
    RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV \
    TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Every country there is.
fn countries() -> Object {
    let country = ObjectBuilder::new().schema_type(Type::String).description(Some("ISO 3166-1 alpha-2."));
    country.enum_values(Some(COUNTRIES.split_whitespace())).examples(["GB"]).build()
}

impl Customer {
    /// The customer without blanks around, or every place that is wrong. No error repeats what was stated.
    ///
    /// # Errors
    /// At least one place.
    pub fn check(self) -> Result<Self, Vec<FieldError>> {
        let trimmed = |text: String| text.trim().to_owned();
        let customer = Self {
            name: trimmed(self.name),
            address: self.address.into_iter().map(trimmed).collect(),
            country: self.country,
            email: self.email.map(trimmed),
            vat_id: self.vat_id.map(trimmed),
        };
        let errors = customer.errors();
        if errors.is_empty() { Ok(customer) } else { Err(errors) }
    }

    /// What names this state of the customer: it says nothing of them.
    pub(crate) fn tag(&self) -> Tag {
        Tag::of_content(self)
    }

    fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut require = |fits: bool, pointer: &str, detail: String| {
            if !fits {
                errors.push(FieldError::new(pointer, detail));
            }
        };
        let line = || format!("must have 1 to {LONGEST_LINE} characters, and none that nobody sees");
        require(is_line(&self.name), "/name", line());
        let lines = (1..=MOST_LINES).contains(&self.address.len());
        require(lines, "/address", format!("must have 1 to {MOST_LINES} lines"));
        for (number, one) in self.address.iter().enumerate() {
            require(is_line(one), &format!("/address/{number}"), line());
        }
        let known = self.country.len() == 2 && COUNTRIES.split(' ').any(|country| country == self.country);
        require(known, "/country", "must be a country by ISO 3166-1 alpha-2, such as DE".to_owned());
        let email = self.email.as_deref().is_none_or(is_email);
        require(email, "/email", format!("must be an address like name@host, of at most {LONGEST_EMAIL} characters"));
        let vat_id = self.vat_id.as_deref().is_none_or(is_vat_id);
        require(vat_id, "/vat_id", "must be two letters and 2 to 13 letters or digits, such as DE123456789".to_owned());
        errors
    }
}

fn is_line(text: &str) -> bool {
    (1..=LONGEST_LINE).contains(&text.chars().count()) && !text.contains(is_hidden)
}

fn is_email(text: &str) -> bool {
    let odd = |one: char| one.is_whitespace() || is_hidden(one);
    let parts = text.split_once('@').filter(|(_, host)| !host.contains('@'));
    let whole = parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    whole && text.len() <= LONGEST_EMAIL && !text.contains(odd)
}

fn is_vat_id(text: &str) -> bool {
    let Some((country, number)) = text.split_at_checked(2) else { return false };
    let known = |one: u8| one.is_ascii_uppercase() || one.is_ascii_digit();
    country.bytes().all(|one| one.is_ascii_uppercase())
        && VAT_ID_LENGTH.contains(&number.len())
        && number.bytes().all(known)
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Customer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer() -> Customer {
        Customer {
            name: " Ada Lovelace ".to_owned(),
            address: vec!["12 St James's Square".to_owned(), "London".to_owned()],
            country: "GB".to_owned(),
            email: Some("ada@example.org".to_owned()),
            vat_id: Some("GB999999973".to_owned()),
        }
    }

    #[test]
    fn a_customer_is_taken_without_blanks_around_and_shown_to_no_log() {
        let taken = customer().check().unwrap();
        assert_eq!(taken, Customer { name: "Ada Lovelace".to_owned(), ..customer() });
        assert_eq!(format!("{taken:?}"), "Customer(***)");
        let least = Customer { email: None, vat_id: None, ..customer() };
        assert!(least.check().is_ok());
        assert_eq!(COUNTRIES.split_whitespace().count(), 249);
    }

    #[test]
    fn each_place_that_is_wrong_is_named_and_not_repeated() {
        type Change = fn(&mut Customer);
        let wrong: [(&str, Change); 20] = [
            ("/name", |one| one.name = "  ".into()),
            ("/name", |one| one.name = "canary\u{0}".into()),
            ("/name", |one| one.name = "canary\u{202e}".into()),
            ("/name", |one| one.name = "\u{200b}".into()),
            ("/name", |one| one.name = "canary".repeat(30)),
            ("/address", |one| one.address.clear()),
            ("/address", |one| one.address = vec!["canary".into(); 7]),
            ("/address/1", |one| one.address[1] = "canary\n".repeat(2)),
            ("/address/1", |one| one.address[1] = "canary\u{2066}canary".into()),
            ("/country", |one| one.country = "gb".into()),
            ("/country", |one| one.country = "XX".into()),
            ("/country", |one| one.country = "B ".into()),
            ("/email", |one| one.email = Some("canary".into())),
            ("/email", |one| one.email = Some("canary@".into())),
            ("/email", |one| one.email = Some("can\u{ad}ary@host".into())),
            ("/email", |one| one.email = Some("can ary@host".into())),
            ("/email", |one| one.email = Some("canary@host@host".into())),
            ("/vat_id", |one| one.vat_id = Some("G".into())),
            ("/vat_id", |one| one.vat_id = Some("gb999999973".into())),
            ("/vat_id", |one| one.vat_id = Some("GB99999-9973".into())),
        ];
        for (pointer, change) in wrong {
            let mut customer = customer();
            change(&mut customer);
            let errors = customer.check().unwrap_err();
            let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, [pointer]);
            assert!(!errors[0].detail.contains("canary"), "{errors:?}");
        }
    }
}
