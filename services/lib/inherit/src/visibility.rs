//! Which businesses below the owner see a record at all.

use ids::BusinessId;

/// Who sees a record. Each business that is named stands for all below it, until another one is named there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visibility {
    /// Who sees it; if it is empty, everybody.
    pub include: Vec<BusinessId>,
    /// Who does not.
    pub exclude: Vec<BusinessId>,
}

impl Visibility {
    /// Whether the business at the end of `line` sees the record: the nearest business that is named decides.
    /// The owner always does. Nobody is to be named twice; who is, does not see it.
    #[must_use]
    pub fn shows(&self, line: &[BusinessId]) -> bool {
        for business in line.iter().skip(1).rev() {
            if self.exclude.contains(business) {
                return false;
            }
            if self.include.contains(business) {
                return true;
            }
        }
        line.len() == 1 || self.include.is_empty()
    }
}
