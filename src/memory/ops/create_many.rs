//! create_many: makes many sessions at one instant, one after the other. No server is involved, so each is a create of
//! its own.

use crate::memory::call::Call;
use crate::memory::ops::create;
use crate::model::{Created, NewSession, Result};

pub(crate) fn run(call: &Call<'_>, new: Vec<NewSession>) -> Vec<Result<Created>> {
    new.into_iter().enumerate().map(|(place, new)| create::run(call.nth(place), new)).collect()
}
