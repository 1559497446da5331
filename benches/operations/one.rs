//! The operations on one session.

use cloakroom::migration::Import;
use cloakroom::{Binding, PageRequest, Patch, Rotation, Selector};

use crate::bench::{Bench, OF_A_USER, Store, create, new_session, one_each};

pub(crate) fn measure(bench: &mut Bench<'_>) {
    bench.measure_crowd("get", async |store, of| store.get(&of.id).await.unwrap().unwrap());
    bench.measure_crowd("session_by_connection", async |store, of| {
        store.session_by_connection(&of.connection).await.unwrap().unwrap()
    });
    bench.measure_crowd("refresh", async |store, of| store.refresh(&of.id).await.unwrap().unwrap());
    bench.measure_crowd("refresh_and_get", async |store, of| {
        store.refresh_and_get(&of.id).await.unwrap().unwrap()
    });
    bench.measure_crowd("patch", async |store, of| {
        store.patch(&of.id, Patch::new().set("theme", &fastrand::u32(..)).unwrap()).await.unwrap()
    });
    bench.measure_crowd("list of 5", async |store, of| {
        store.list(&Selector::user(of.user), &PageRequest::first(OF_A_USER)).await.unwrap()
    });
    bench.measure_crowd("count of 5", async |store, of| store.count(&Selector::user(of.user)).await.unwrap());
    bench.measure_crowd("export", async |store, of| store.export(&of.id).await.unwrap().unwrap());

    let new = async |_: &Store, count| (0..count).map(|_| new_session()).collect();
    bench.measure("create", new, async |store, new| create(store, new).await);
    bench.measure("update", one_each, async |store, mut session| store.update(&mut session).await.unwrap());
    bench.measure("bind", one_each, async |store, session| {
        store.bind(&session, Binding::new(fastrand::u64(..).to_string()).node("node")).await.unwrap()
    });
    bench.measure("unbind", one_each, async |store, session| {
        store.unbind(&session, session.connection().unwrap()).await.unwrap()
    });
    bench.measure("rotate", one_each, async |store, session| {
        store.rotate(&session, Rotation::new()).await.unwrap()
    });
    bench.measure("delete", one_each, async |store, session| store.delete(&session).await.unwrap());
    bench.measure("delete_user", one_each, async |store, session| {
        store.delete_user(session.user().unwrap(), None).await.unwrap()
    });
    let other = bench.other.clone();
    let exported = async |_: &Store, count| {
        let mut exports = Vec::new();
        for session in one_each(&other, count).await {
            exports.push(other.export(session.id()).await.unwrap().unwrap());
            other.delete(&session).await.unwrap();
        }
        exports
    };
    bench.measure("import", exported, async |store, export| store.import(Import::new(export)).await.unwrap());
}
