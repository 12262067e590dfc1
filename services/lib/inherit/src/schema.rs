//! Which fields a kind of record has, and which of them go together.

use crate::Mode;

/// A field that is inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// As in the contract.
    pub name: &'static str,
    /// Whether it holds a list; only lists can be extended.
    pub is_list: bool,
}

/// Fields that have one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// In policies.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// What holds while the owner has no policy that applies.
    pub mode: Mode,
    /// No policy changes the mode: documents rely on it.
    pub fixed: bool,
}

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// `product`.
    pub entity: &'static str,
    /// Every inherited field is in one of them.
    pub groups: &'static [Group],
}

impl Schema {
    /// The group with this name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&'static Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// The group that a field is in.
    #[must_use]
    pub fn group_of(&self, field: &str) -> Option<&'static Group> {
        self.groups.iter().find(|group| group.fields.iter().any(|one| one.name == field))
    }

    /// Every field.
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.groups.iter().flat_map(|group| group.fields)
    }
}
