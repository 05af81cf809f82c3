//! What the generator draws from. Names are invented; mail goes to reserved domains.

/// A product of the catalogue: its category and the range of its price in cents.
pub(super) struct ProductRow {
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    pub(super) cents: (i64, i64),
}

const fn row(name: &'static str, category: &'static str, low: i64, high: i64) -> ProductRow {
    ProductRow {
        name,
        category,
        cents: (low * 100, high * 100),
    }
}

/// Five categories, four products each, categories taking turns so that a short catalogue has them all.
pub(super) const PRODUCTS: [ProductRow; 20] = [
    row("Laptop Pro 15", "Electronics", 1_200, 1_600),
    row("The Log Book", "Books", 25, 45),
    row("Rain Jacket", "Clothing", 80, 140),
    row("Desk Lamp", "Home", 30, 70),
    row("Trail Shoes", "Sports", 90, 150),
    row("Noise Free Headphones", "Electronics", 150, 300),
    row("Streams and Rivers", "Books", 15, 35),
    row("Wool Sweater", "Clothing", 60, 110),
    row("Coffee Grinder", "Home", 50, 120),
    row("Yoga Mat", "Sports", 20, 50),
    row("Pocket Camera", "Electronics", 300, 500),
    row("Cooking for Crowds", "Books", 20, 40),
    row("Canvas Belt", "Clothing", 15, 30),
    row("Kettle Classic", "Home", 35, 80),
    row("Climbing Rope", "Sports", 100, 200),
    row("Smart Watch 3", "Electronics", 200, 400),
    row("Atlas of Islands", "Books", 30, 60),
    row("Linen Shirt", "Clothing", 40, 80),
    row("Wall Clock", "Home", 25, 60),
    row("Bicycle Pump", "Sports", 20, 45),
];

pub(super) const FIRST_NAMES: &[&str] = &[
    "Ada", "Amir", "Bruno", "Chiara", "Dara", "Elif", "Emil", "Farah", "Grace", "Hana", "Ines",
    "Jonas", "Keiko", "Liam", "Mira", "Noor", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tara",
    "Uma", "Viktor", "Wanda", "Yusuf",
];

pub(super) const LAST_NAMES: &[&str] = &[
    "Abbas", "Becker", "Costa", "Dahl", "Evans", "Fischer", "Garcia", "Hoang", "Ito", "Jensen",
    "Kaya", "Lopez", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Silva", "Tanaka", "Usman",
    "Vargas", "Weber", "Young", "Zhang",
];

pub(super) const STREETS: &[&str] = &[
    "Main Street",
    "Oak Avenue",
    "Harbour Road",
    "Mill Lane",
    "Station Road",
    "Lake View",
    "Hill Street",
];

/// City, state, first three digits of the code.
pub(super) const CITIES: &[(&str, &str, &str)] = &[
    ("Portland", "OR", "972"),
    ("Austin", "TX", "787"),
    ("Boston", "MA", "021"),
    ("Denver", "CO", "802"),
    ("Madison", "WI", "537"),
    ("Savannah", "GA", "314"),
    ("Tucson", "AZ", "857"),
];

/// `Laptop Pro 15` → `laptop-pro-15`.
pub(super) fn slug(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}
