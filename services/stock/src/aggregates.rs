//! What the stock service tells the journal: how items and locations load, save and show up in indexes.

use bytes::Bytes;
use calendar::Instant;
use ids::LocationId;
use journal::{Aggregate, Changes, Damage, Need, Seq};

use crate::domain::item::{Command, Item, Marks};
use crate::domain::location::{self, Place};
use crate::domain::movement::Movement;
use crate::domain::{post, reverse};
use crate::error::Error;
use crate::records;

impl Aggregate for Item {
    type Command = Command;
    type Event = Movement;
    type Error = Error;

    const SERVICE: &'static str = "stock";
    const KIND: u8 = records::KIND_ITEM;
    const FORMAT: u8 = records::FORMAT;

    fn needs(&self, command: &Command) -> Vec<Need> {
        Item::needs(self, command)
    }

    fn load(&mut self, need: &Need, value: Option<&[u8]>) -> Result<(), Damage> {
        match need {
            Need::Index { key, .. } => {
                let line =
                    key.as_ref().try_into().map_err(|_| Damage("a source line has 24 bytes".into()))?;
                let posted = value.and_then(records::read_source_value).map(|(first, _)| first);
                self.lines.insert(line, posted);
                Ok(())
            }
            Need::Row(key) => self.load_row(key, value),
        }
    }

    fn decide(&self, command: &Command, now: Instant) -> Result<Vec<Movement>, Error> {
        match command {
            Command::Post(draft) => post::post(self, draft, now),
            Command::Reverse(request) => reverse::reverse(self, request),
        }
    }

    fn evolve(&mut self, event: &Movement, seq: Seq, _recorded_at: Instant) {
        Item::evolve(self, event, seq);
    }

    fn project(&self, event: &Movement, seq: Seq, changes: &mut Changes) {
        let Some(facts) = &self.facts else { return };
        let (business, variant) = (facts.business, facts.variant);
        let (key, value) = records::source_row(business, event, seq);
        changes.index(records::INDEX_SOURCE, key, value);
        if event.facts.is_some() {
            let key = records::index_key(&[business.as_bytes(), variant.as_bytes()]);
            changes.index(records::INDEX_ITEM, key, Bytes::new());
        }
        if self
            .balances
            .get(&event.location)
            .is_some_and(|balance| balance.movements == 1 && balance.last == seq)
        {
            let key =
                records::index_key(&[business.as_bytes(), event.location.as_bytes(), variant.as_bytes()]);
            changes.index(records::INDEX_PLACE, key, Bytes::new());
        }
    }

    fn save(&mut self, changes: &mut Changes) {
        for location in std::mem::take(&mut self.dirty_balances) {
            if let Some(balance) = self.balances.get(&location) {
                let value = records::encode_balance(location, balance);
                changes.rows.push((records::balance_key(location), Some(value)));
            }
        }
        for id in std::mem::take(&mut self.pool.layers.dirty) {
            // A chunk that is gone, or that is in the header now, has no row any more.
            let chunk = self.pool.layers.directory.iter().find(|chunk| chunk.id == id && chunk.row);
            let layers = chunk.and_then(|chunk| self.pool.layers.loaded.get(&chunk.id));
            let value = layers.map(|layers| records::encode_chunk(layers));
            changes.rows.push((records::chunk_key(id), value));
        }
        if std::mem::take(&mut self.dirty_deficits) {
            let deficits = &self.pool.deficits;
            let value = (!deficits.is_empty()).then(|| records::encode_deficits(deficits));
            changes.rows.push((records::deficits_key(), value));
        }
        for seq in std::mem::take(&mut self.dirty_marks) {
            changes.rows.push((records::marks_key(seq), Some(records::encode_marks(&self.marks_of(seq)))));
        }
        self.lines.clear();
        self.absent.clear();
        self.marks.clear();
    }

    fn header(&self) -> Bytes {
        records::encode_item(self)
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        records::decode_item(header)
    }

    fn encode(event: &Movement) -> Bytes {
        records::encode_movement(event)
    }

    fn decode(bytes: &[u8]) -> Result<Movement, Damage> {
        records::decode_movement(bytes)
    }

    fn weight(&self) -> usize {
        const LAYER_BYTES: usize = 32;
        const ROW_BYTES: usize = 96;
        let layers: usize = self.pool.layers.loaded.values().map(Vec::len).sum();
        let rows = self.balances.len() + self.absent.len() + self.lines.len() + self.marks.len();
        layers * LAYER_BYTES + rows * ROW_BYTES
    }
}

impl Item {
    fn load_row(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Damage> {
        let Some((prefix, rest)) = key.split_first() else { return Err(Damage("an empty row key".into())) };
        let number = || rest.try_into().map(u64::from_be_bytes).map_err(|_| Damage("a row key".into()));
        match (prefix, value) {
            (b'b', Some(bytes)) => {
                let (location, balance) = records::decode_balance(bytes)?;
                self.balances.insert(location, balance);
            }
            (b'b', None) => {
                let bytes = rest.try_into().map_err(|_| Damage("a row key".into()))?;
                self.absent.insert(LocationId::from_bytes(bytes));
            }
            (b'c', Some(bytes)) => {
                self.pool.layers.loaded.insert(number()?, records::decode_chunk(bytes)?);
            }
            (b'd', Some(bytes)) => {
                self.pool.deficits = records::decode_deficits(bytes)?;
                self.deficits_loaded = true;
            }
            (b'm', Some(bytes)) => {
                self.marks.insert(number()?, records::decode_marks(bytes)?);
            }
            (b'm', None) => {
                self.marks.insert(number()?, Marks::default());
            }
            _ => return Err(Damage("a row that the header names is missing".into())),
        }
        Ok(())
    }
}

impl Aggregate for Place {
    type Command = location::Command;
    type Event = location::Event;
    type Error = Error;

    const SERVICE: &'static str = "stock";
    const KIND: u8 = records::KIND_LOCATION;
    const FORMAT: u8 = records::FORMAT;

    fn needs(&self, _command: &location::Command) -> Vec<Need> {
        vec![]
    }

    fn load(&mut self, _need: &Need, _value: Option<&[u8]>) -> Result<(), Damage> {
        Ok(())
    }

    fn decide(&self, command: &location::Command, _now: Instant) -> Result<Vec<location::Event>, Error> {
        Place::decide(self, command)
    }

    fn evolve(&mut self, event: &location::Event, seq: Seq, recorded_at: Instant) {
        Place::evolve(self, event, seq, recorded_at);
    }

    fn project(&self, event: &location::Event, _seq: Seq, changes: &mut Changes) {
        if let location::Event::Created(location) = event {
            let (business, id) = (location.business.as_bytes(), location.id.as_bytes());
            changes.index(records::INDEX_LOCATION, records::index_key(&[business, id]), Bytes::new());
            changes.take(records::CLAIM_CODE, records::code_claim(location.business, &location.code));
        }
    }

    fn save(&mut self, _changes: &mut Changes) {}

    fn header(&self) -> Bytes {
        records::encode_place(self)
    }

    fn from_header(header: &[u8]) -> Result<Self, Damage> {
        records::decode_place(header)
    }

    fn encode(event: &location::Event) -> Bytes {
        records::encode_location_event(event)
    }

    fn decode(bytes: &[u8]) -> Result<location::Event, Damage> {
        records::decode_location_event(bytes)
    }
}
