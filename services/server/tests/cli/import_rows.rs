//! Wrong rows: each is named, and nothing is imported.

use std::path::Path;

use serde_json::{Value, json};

use crate::dataset::{LOCATIONS, Ledger, OPENING, PRODUCTS, SALES, write};
use crate::import::Business;
use crate::process::{Finished, Server, run};

/// Right rows, to which a test adds wrong ones.
const TWO_PRODUCTS: &str = "MUG,Mug,,,,,\nTEA,\"Tea, loose\",,,KGM,3,\n";
const TWO_LOCATIONS: &str = "NORTH,North\nSOUTH,South\n";
const TWO_OPENINGS: &str = "O-1,1,MUG,NORTH,10,20.00,EUR,2025-01-01T00:00:00Z\n\
                            O-1,2,TEA,NORTH,2.5,7.50,EUR,2025-01-01T00:00:00Z\n";

/// A server with a business that has nothing yet.
struct World {
    business: Business,
    server: Server,
}

impl World {
    fn new() -> World {
        let business = Business::new();
        let server = business.serve();
        World { business, server }
    }

    fn import(&self, files: &Path, extra: &[&str]) -> Finished {
        self.business.import_with(&self.server, &self.business.key, files, extra).finish()
    }

    /// Everything that an import could have made.
    fn contents(&self) -> (Vec<Value>, Vec<Value>, Ledger) {
        let mut http = self.business.http(&self.server);
        let variants = http.all("/v1/variants", "variants");
        (variants, http.all("/v1/locations", "locations"), Ledger::fetch(&mut http))
    }

    /// Imports files with these rows behind the right ones, and sees that exactly `wrong` (line, column, part
    /// of the reason) is reported for `file`, and that nothing was imported.
    fn check(&self, file: &str, rows: &[u8], wrong: &[(u64, &str, &str)]) {
        self.check_files(&[(file, &with(file, rows))], file, wrong);
    }

    fn check_files(&self, changed: &[(&str, &[u8])], file: &str, wrong: &[(u64, &str, &str)]) {
        let mut files: Vec<(&str, Vec<u8>)> = ["products.csv", "locations.csv", "opening.csv", "sales.csv"]
            .map(|name| (name, with(name, b"")))
            .into();
        for (name, bytes) in changed {
            let known = files.iter_mut().find(|(known, _)| known == name).expect("one of the files");
            known.1 = bytes.to_vec();
        }
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let folder = write(self.business.path(), &files);
        let path = folder.join(file);
        let before = self.contents();

        let finished = self.import(&folder, &["--json"]);
        let rows: Vec<Value> =
            finished.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                assert_eq!(row["file"], path.to_str().unwrap(), "{row}");
                let text = |field: &str| row[field].as_str().expect("a text");
                (row["row"].as_u64().expect("a number"), text("column"), text("reason"))
            })
            .collect();
        let fits = found.len() == wrong.len()
            && found
                .iter()
                .zip(wrong)
                .all(|(found, wrong)| (found.0, found.1) == (wrong.0, wrong.1) && found.2.contains(wrong.2));
        assert!(fits, "{file}: expected {wrong:?}, found {found:?} {}", finished.stderr);
        let message = finished.refused(65);
        assert!(message.contains("wrong row") && message.contains("nothing was imported"), "{message}");

        // People read the same.
        let text = self.import(&folder, &[]);
        assert_eq!((text.code, text.stdout.as_str()), (Some(65), ""));
        for (line, column, reason) in found {
            let expected = format!("{}:{line}: {column}: {reason}\n", path.display());
            assert!(text.stderr.contains(&expected), "{expected} {text:?}");
        }
        assert_eq!(self.contents(), before, "nothing is half imported");
    }
}

/// A file with right rows and then these.
fn with(file: &str, rows: &[u8]) -> Vec<u8> {
    let (header, right) = match file {
        "products.csv" => (PRODUCTS, TWO_PRODUCTS),
        "locations.csv" => (LOCATIONS, TWO_LOCATIONS),
        "opening.csv" => (OPENING, TWO_OPENINGS),
        _ => (SALES, "B-1,1,MUG,NORTH,1,4.00,EUR,2025-02-01T00:00:00Z\n"),
    };
    [header.as_bytes(), b"\n", right.as_bytes(), rows].concat()
}

#[test]
#[rustfmt::skip] // columns
fn wrong_products_and_locations_are_named() {
    let world = World::new();
    let products = |rows: &str, wrong: &[(u64, &str, &str)]| world.check("products.csv", rows.as_bytes(), wrong);
    products("MUG,Again,,,,,\n",          &[(4, "sku", "'MUG' stands twice")]);
    products(",No number,,,,,\n",         &[(4, "sku", "is empty")]);
    products("A B,Blank,,,,,\n",          &[(4, "sku", "'A B'")]);
    products(&format!("{},Long,,,,,\n", "X".repeat(65)), &[(4, "sku", "64")]);
    products("NEW,,,,,,\n",               &[(4, "name", "is empty")]);
    products("NEW,\"two\nlines\",,,,,\nNEW2,,,,,,\n", &[(4, "name", "line breaks"), (6, "name", "is empty")]);
    products("NEW,New,,,XXQ,,\n",         &[(4, "base_unit", "'XXQ'")]);
    products("NEW,New,,,,7,\n",           &[(4, "quantity_scale", "'7'")]);
    products("NEW,New,,,,-1,\n",          &[(4, "quantity_scale", "'-1'")]);
    products("NEW,New,,,,,äöü\n",         &[(4, "barcode", "ASCII")]);
    products("NEW,New,,,,,4006381333931\nNEW2,New,,,,,04006381333931\n",
                                          &[(5, "barcode", "that of product 'NEW'")]);
    products("NEW,New,,,,\n",             &[(4, "row", "has 6 fields, the header has 7")]);
    products("NEW,New, big,,,,,\n",       &[(4, "row", "has 8 fields, the header has 7")]);
    products("NEW,,,,Q,9,\n",             &[(4, "base_unit", "'Q'"), (4, "quantity_scale", "'9'"), (4, "name", "is empty")]);

    let locations = |rows: &str, wrong: &[(u64, &str, &str)]| world.check("locations.csv", rows.as_bytes(), wrong);
    locations("NORTH,Again\n",            &[(4, "code", "'NORTH' stands twice")]);
    locations("A;B,Semicolon\n",          &[(4, "code", "'A;B'")]);
    locations(",No code\nWEST,\n",        &[(4, "code", "is empty"), (5, "name", "is empty")]);
    locations("WEST\n",                   &[(4, "row", "has 1 fields, the header has 2")]);
    world.server.stop();
}

#[test]
#[rustfmt::skip] // columns
fn wrong_movements_are_named() {
    let world = World::new();
    let sale = |row: &str, wrong: &[(u64, &str, &str)]| world.check("sales.csv", format!("{row}\n").as_bytes(), wrong);
    const AT: &str = "2025-02-01T00:00:00Z";
    sale(&format!("B-2,1,MUG,NORTH,1e3,,,{AT}"),       &[(3, "quantity", "'1e3' must be a plain decimal number")]);
    sale(&format!("B-2,1,MUG,NORTH,\"1,5\",,,{AT}"),   &[(3, "quantity", "'1,5'")]);
    sale(&format!("B-2,1,MUG,NORTH,,,,{AT}"),          &[(3, "quantity", "''")]);
    sale(&format!("B-2,1,MUG,NORTH,-1,,,{AT}"),        &[(3, "quantity", "greater than zero")]);
    sale(&format!("B-2,1,MUG,NORTH,0,,,{AT}"),         &[(3, "quantity", "greater than zero")]);
    sale(&format!("B-2,1,MUG,NORTH,1.5,,,{AT}"),       &[(3, "quantity", "'1.5' has more than 0 decimal places")]);
    sale(&format!("B-2,1,TEA,NORTH,0.0001,,,{AT}"),    &[(3, "quantity", "more than 3 decimal places")]);
    sale(&format!("B-2,1,TEA,NORTH,0.0000001,,,{AT}"), &[(3, "quantity", "at most '6'")]);
    sale(&format!("B-2,1,MUG,NORTH,1000000000001,,,{AT}"), &[(3, "quantity", "10^12")]);
    sale(&format!("B-2,1,CUP,NORTH,1,,,{AT}"),         &[(3, "sku", "no product 'CUP'")]);
    sale(&format!("B-2,1,mug,NORTH,1,,,{AT}"),         &[(3, "sku", "no product 'mug'")]);
    sale(&format!("B-2,1,MUG,WEST,1,,,{AT}"),          &[(3, "location", "no location 'WEST'")]);
    sale(&format!("B-2,1,CUP,WEST,1,,,{AT}"),          &[(3, "sku", "'CUP'"), (3, "location", "'WEST'")]);
    sale(&format!("B-1,1,MUG,NORTH,2,,,{AT}"),         &[(3, "line_id", "line '1' of 'B-1' stands twice")]);
    sale(&format!(",1,MUG,NORTH,1,,,{AT}"),            &[(3, "basket_id", "is empty")]);
    sale(&format!("B-2,,MUG,NORTH,1,,,{AT}"),          &[(3, "line_id", "is empty")]);
    sale(&format!("{},1,MUG,NORTH,1,,,{AT}", "9".repeat(101)), &[(3, "basket_id", "100")]);
    sale(&format!("B-2,1,MUG,NORTH,1,free,EUR,{AT}"),  &[(3, "sales_value", "'free'")]);
    sale(&format!("B-2,1,MUG,NORTH,1,-1,EUR,{AT}"),    &[(3, "sales_value", "negative")]);
    sale(&format!("B-2,1,MUG,NORTH,1,1,,{AT}"),        &[(3, "currency", "''")]);
    sale(&format!("B-2,1,MUG,NORTH,1,1,EURO,{AT}"),    &[(3, "currency", "'EURO'")]);
    sale("B-2,1,MUG,NORTH,1,,,yesterday",              &[(3, "occurred_at", "'yesterday'")]);
    sale("B-2,1,MUG,NORTH,1,,,2025-02-30T00:00:00Z",   &[(3, "occurred_at", "2025-02-30")]);
    sale("B-2,1,MUG,NORTH,1,,,2025-02-01 00:00:00",    &[(3, "occurred_at", "must be an instant")]);
    sale("B-2,1,MUG,NORTH,1,,,2199-01-01T00:00:00Z",   &[(3, "occurred_at", "in the future")]);
    sale("B-2,1,MUG,NORTH,1,,,2025-01-15T00:00:00Z",   &[(3, "occurred_at", "before '2025-02-01T00:00:00Z'")]);
    sale("B-2,1,MUG,NORTH,1",                          &[(3, "row", "has 5 fields, the header has 8")]);
    sale(&format!("B-2,1,MUG,NORTH,10,,,{AT}"),        &[(3, "quantity", "more than the '9' that are left")]);
    sale(&format!("B-2,1,MUG,SOUTH,1,,,{AT}"),         &[(3, "quantity", "more than the '0'")]);
    sale(&format!("B-2,1,TEA,NORTH,2.4,,,{AT}\nB-2,2,TEA,NORTH,0.2,,,{AT}"), &[(4, "quantity", "'0.1'")]);

    let opening = |row: &str, wrong: &[(u64, &str, &str)]| world.check("opening.csv", format!("{row}\n").as_bytes(), wrong);
    opening(&format!("O-2,1,MUG,SOUTH,1,1.234,EUR,{AT}"), &[(4, "total_cost", "at most 2 decimal places")]);
    opening(&format!("O-2,1,MUG,SOUTH,1,,EUR,{AT}"),   &[(4, "total_cost", "''")]);
    opening(&format!("O-2,1,MUG,SOUTH,1,-1,EUR,{AT}"), &[(4, "total_cost", "negative")]);
    opening(&format!("O-2,1,MUG,SOUTH,1,1,USD,{AT}"),  &[(4, "currency", "'USD' is not the currency of the business, 'EUR'")]);
    opening(&format!("O-1,1,MUG,SOUTH,1,1,EUR,{AT}"),  &[(4, "line_id", "stands twice")]);
    opening(&format!("O-2,1,MUG,SOUTH,600000000000,1,EUR,{AT}\nO-2,2,MUG,SOUTH,600000000000,1,EUR,{AT}"),
                                                       &[(5, "quantity", "10^12")]);
    world.server.stop();
}

/// How files are written should not matter, and where a row is must be right.
#[test]
#[rustfmt::skip] // columns
fn files_of_every_editor_are_read_and_lines_counted_right() {
    let world = World::new();
    let bad = "B-2,1,CUP,NORTH,1,,,2025-02-01T00:00:00Z";
    let sales = |text: &str| [SALES, "\n", text].concat();
    let good = "B-1,1,MUG,NORTH,1,4.00,EUR,2025-02-01T00:00:00Z";
    let check = |bytes: &[u8], line: u64| {
        world.check_files(&[("sales.csv", bytes)], "sales.csv", &[(line, "sku", "'CUP'")]);
    };
    check(sales(&format!("{good}\n{bad}\n")).as_bytes(), 3);
    check(sales(&format!("{good}\n{bad}")).as_bytes(), 3);
    check(sales(&format!("{good}\n{bad}\n")).replace('\n', "\r\n").as_bytes(), 3);
    check(&[b"\xef\xbb\xbf", sales(&format!("{good}\n{bad}\n")).as_bytes()].concat(), 3);
    check(sales(&format!("\n\n{good}\n\n{bad}\n")).as_bytes(), 6);
    check(sales(&format!("\"B-1\n\",1,MUG,NORTH,1,,,2025-02-01T00:00:00Z\n{bad}\n")).as_bytes(), 4);
    check(sales(&format!("\"B-1\n\",1,MUG,NORTH,1,,,2025-02-01T00:00:00Z\n{bad}\n")).replace('\n', "\r\n").as_bytes(), 4);

    world.check_files(&[("sales.csv", &[SALES.as_bytes(), b"\nB-1,1,M\xfcG,NORTH,1,,,2025-02-01T00:00:00Z\n", bad.as_bytes()].concat())],
        "sales.csv", &[(2, "sku", "not UTF-8"), (3, "sku", "'CUP'")]);
    world.check_files(&[("sales.csv", SALES.replace(",quantity", "").as_bytes())],
        "sales.csv", &[(1, "quantity", "column is missing")]);
    world.check_files(&[("sales.csv", SALES.replace("sales_value", "sale_value").as_bytes())],
        "sales.csv", &[(1, "sale_value", "none of the columns")]);
    world.check_files(&[("products.csv", PRODUCTS.replace(',', ";").as_bytes())],
        "products.csv", &[(1, "row", "commas")]);
    world.check_files(&[("products.csv", b"")], "products.csv",
        &[(1, "sku", "missing"), (1, "name", "missing")]);
    world.check_files(&[("locations.csv", b"\xff\xfec\0o\0d\0e\0")], "locations.csv", &[(1, "row", "UTF-8")]);

    // Columns in any order, optional ones left out, with and without blanks, with a line break in a field.
    let files = write(world.business.path(), &[
        ("products.csv", b"\xef\xbb\xbfName , SKU\r\n\"Mug \r\n\", MUG \r\nTea,TEA\r\n"),
        ("locations.csv", b"code,name\nNORTH,\"North \"\"N\"\"\"\n"),
        ("opening.csv", &with("opening.csv", b"")[..]),
        ("sales.csv", b"occurred_at,quantity,location,sku,line_id,basket_id\n2025-02-01T01:00:00+01:00,1,NORTH,MUG,1,B-1"),
    ]);
    let text = std::fs::read_to_string(files.join("opening.csv")).unwrap().replace("2.5", "2");
    std::fs::write(files.join("opening.csv"), text).unwrap();
    world.import(&files, &[]).ok();
    let ledger = Ledger::fetch(&mut world.business.http(&world.server));
    assert_eq!((ledger.items["MUG"], ledger.items["TEA"]), ((9000, 1800, 2), (2000, 750, 1)));
    world.server.stop();
}

/// What is on the server counts: its items, places, codes and stock.
#[test]
fn rows_are_compared_with_what_is_there() {
    let world = World::new();
    let mut http = world.business.http(&world.server);
    let mug = json!({"name": "Mug", "variants": [{"sku": "MUG", "barcodes": [{"value": "4006381333931"}]}]});
    http.post("/v1/products", "", &mug);
    http.location("NORTH");
    let place = |code: &str, field: &str, value: &str| json!({"code": code, "name": code, (field): value});
    http.post("/v1/locations", "", &place("SHUT", "status", "CLOSED"));
    http.post("/v1/locations", "", &place("DEBT", "negativePolicy", "ALLOW"));
    world.check("products.csv", b"NEW,New,,,,,4006381333931\n", &[(4, "barcode", "that of product 'MUG'")]);
    let at = "2025-02-01T00:00:00Z";
    world.check(
        "sales.csv",
        format!("B-2,1,MUG,SHUT,1,,,{at}\n").as_bytes(),
        &[(3, "location", "'SHUT' is blocked"), (3, "quantity", "'0'")],
    );
    world.check("sales.csv", format!("B-2,1,MUG,NORTH,10,,,{at}\n").as_bytes(), &[(3, "quantity", "'9'")]);

    // With stock of files that came before, and with debts where they are allowed.
    let files = ["products.csv", "locations.csv", "opening.csv", "sales.csv"];
    let mut files: Vec<(&str, Vec<u8>)> = files.map(|name| (name, with(name, b""))).into();
    files[3].1.extend(format!("B-2,1,MUG,DEBT,5,,,{at}\n").bytes());
    let write_all = |files: &[(&str, Vec<u8>)]| {
        let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        write(world.business.path(), &files)
    };
    world.import(&write_all(&files), &[]).ok();
    // The same files with one more sale: what is new is seen before it is sent.
    files[3].1.extend(format!("B-3,1,MUG,NORTH,9,,,{at}\nB-3,2,MUG,NORTH,1,,,{at}\n").bytes());
    world.check_files(&[("sales.csv", &files[3].1)], "sales.csv", &[(5, "quantity", "'0'")]);
    world.server.stop();
}

/// What only the server can know is reported the same way, and everything else is imported.
#[test]
fn rows_that_the_server_refuses_are_named() {
    let world = World::new();
    let files = ["products.csv", "locations.csv", "opening.csv", "sales.csv"];
    let files: Vec<(&str, Vec<u8>)> = files.map(|name| (name, with(name, b""))).into();
    let write_all = |files: &[(&str, Vec<u8>)]| {
        let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        write(world.business.path(), &files)
    };
    world.import(&write_all(&files), &[]).ok();
    // Sales of a later month, in files of their own; and a row that says something else now.
    let at = "2025-03-01T00:00:00Z";
    let rows = format!(
        "{SALES}\nB-1,1,MUG,NORTH,2,4.00,EUR,2025-02-01T00:00:00Z\nM-1,1,MUG,NORTH,8,,,{at}\n\
         M-1,2,MUG,NORTH,5,,,{at}\nM-1,3,MUG,NORTH,1,,,{at}\n"
    );
    let folder = write(world.business.path(), &[("sales.csv", rows.as_bytes())]);
    for made in [2, 0] {
        let finished = world.import(&folder, &["--json"]);
        let message = finished.refused(65);
        assert!(message.contains("2 rows were refused by the server"), "{finished:?}");
        let lines: Vec<Value> =
            finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["row"], &lines[0]["column"]), (&json!(2), &json!("line_id")), "{lines:?}");
        assert!(lines[0]["reason"].as_str().unwrap().contains("other content"), "{lines:?}");
        assert_eq!((&lines[1]["row"], &lines[1]["column"]), (&json!(4), &json!("quantity")), "{lines:?}");
        assert!(lines[1]["reason"].as_str().unwrap().contains("5 wanted"), "{lines:?}");
        let counts = &lines[2]["movements"];
        assert_eq!((&counts["made"], &counts["thereAlready"]), (&json!(made), &json!(2 - made)));
    }
    let ledger = Ledger::fetch(&mut world.business.http(&world.server));
    assert_eq!(ledger.items["MUG"], (0, 0, 4));
    world.server.stop();
    world.business.verify();
}

/// Without a server only what the files say counts.
#[test]
fn files_can_be_checked_alone() {
    let world = World::new();
    let files =
        ["products.csv", "locations.csv", "opening.csv", "sales.csv"].map(|name| (name, with(name, b"")));
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let folder = write(world.business.path(), &files);
    let (all, sales) = (folder.to_str().unwrap(), folder.join("sales.csv"));
    let alone = |paths: &[&str]| {
        run(world.business.path(), ["import", "--check"].iter().chain(paths).copied().collect::<Vec<_>>())
    };
    assert_eq!(alone(&[all]).ok(), "7 rows are right; nothing was imported\n");
    assert_eq!(alone(&[all, "--json"]).json(), json!({"checkedRows": 7}));
    // Which items there are, nobody knows without a list of them.
    alone(&[sales.to_str().unwrap()]).ok();
    let here = world.import(&sales, &["--check"]);
    assert!(here.stderr.contains("no product 'MUG'"), "{here:?}");
    here.refused(65);
    world.import(&folder, &["--check"]).ok();

    std::fs::write(&sales, with("sales.csv", b"B-2,1,MUG,NORTH,99,,,2025-02-01T00:00:00Z\n")).unwrap();
    assert!(alone(&[all]).stderr.contains("'9' that are left"));
    assert_eq!(world.contents(), (vec![], vec![], Ledger::default()));

    // Many wrong rows do not fill the screen.
    let many: String =
        (0..60).map(|line| format!("B-2,{line},CUP,NORTH,1,,,2025-02-01T00:00:00Z\n")).collect();
    std::fs::write(&sales, with("sales.csv", many.as_bytes())).unwrap();
    let text = alone(&[all]).stderr;
    assert_eq!(text.matches("'CUP'").count(), 50, "{text}");
    assert!(text.contains("10 more") && text.contains("60 wrong rows"), "{text}");
    assert_eq!(alone(&[all, "--json"]).stdout.lines().count(), 60);
    world.server.stop();
}
