//! Requests of one session at once.

use cloakroom_tower_sessions::CloakroomStore;
use std::sync::Arc;
use tower_sessions::Session;

use crate::support::{places, rules};

#[tokio::test]
async fn a_late_cycle_id_after_log_out_everywhere_brings_nothing_back() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let late = place.request(Some(id));
        assert_eq!(late.get::<String>("user").await.unwrap().as_deref(), Some("ann"));
        assert_eq!(place.sessions.delete_user("ann", None).await.unwrap().removed.len(), 1);
        late.cycle_id().await.unwrap();
        let error = late.save().await.unwrap_err().to_string();
        assert_eq!(error, "the session has ended since it was loaded");
        assert!(late.save().await.is_err(), "nor at the second attempt");
        assert_eq!(late.id(), None);
        assert!(place.of_user("ann").await.is_empty());
    }
}

#[tokio::test]
async fn log_out_everywhere_between_cycle_id_and_the_end_of_its_request_is_not_undone() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let request = place.request(Some(id));
        request.cycle_id().await.unwrap();
        assert_eq!(place.sessions.delete_user("ann", None).await.unwrap().removed.len(), 1);
        assert!(request.save().await.is_err());
        assert!(place.of_user("ann").await.is_empty());
        assert_eq!(place.read(id, "user").await, None);
    }
}

#[tokio::test]
async fn what_was_logged_out_stays_so_whatever_a_request_does_that_had_loaded_it() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let (saves, cycles, clears) =
            (place.request(Some(id)), place.request(Some(id)), place.request(Some(id)));
        saves.insert("late", 1).await.unwrap();
        cycles.insert("late", 1).await.unwrap();
        clears.get_value("late").await.unwrap();
        place.request(Some(id)).flush().await.unwrap();

        assert!(saves.save().await.is_err());
        cycles.cycle_id().await.unwrap();
        assert!(cycles.save().await.is_err());
        clears.clear().await;
        assert!(clears.save().await.is_err());
        assert!(place.of_user("ann").await.is_empty());
        assert_eq!(place.read(id, "late").await, None);
    }
}

#[tokio::test]
async fn without_a_user_too_nothing_is_made_again_that_was_logged_out() {
    for place in places(rules()).await {
        let store = Arc::new(CloakroomStore::new(place.sessions.clone()));
        let first = Session::new(None, store.clone(), None);
        first.insert("user", "ann").await.unwrap();
        first.save().await.unwrap();
        let late = Session::new(first.id(), store.clone(), None);
        late.get_value("user").await.unwrap();
        first.flush().await.unwrap();
        late.cycle_id().await.unwrap();
        assert!(late.save().await.is_err());
    }
}

#[tokio::test]
async fn requests_that_change_different_keys_both_survive() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann"), ("theme", "dark"), ("draft", "x")]).await;
        let (one, other) = (place.request(Some(id)), place.request(Some(id)));
        one.insert("theme", "light").await.unwrap();
        other.insert("cart", "umbrella").await.unwrap();
        other.remove_value("draft").await.unwrap();
        one.save().await.unwrap();
        other.save().await.unwrap();
        assert_eq!(place.read(id, "theme").await.as_deref(), Some("light"));
        assert_eq!(place.read(id, "cart").await.as_deref(), Some("umbrella"));
        assert_eq!(place.read(id, "draft").await, None);
        // The note that a record has of its load is not stored.
        assert_eq!(place.of_user("ann").await[0].attributes().len(), 3);
    }
}

#[tokio::test]
async fn a_request_that_saves_twice_takes_back_what_it_saved_and_nothing_of_others() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let long = place.request(Some(id));
        long.insert("running", "yes").await.unwrap();
        long.insert("seen", "1").await.unwrap();
        long.save().await.unwrap();
        let other = place.request(Some(id));
        other.insert("seen", "2").await.unwrap();
        other.save().await.unwrap();
        long.remove_value("running").await.unwrap();
        long.insert("draft", "x").await.unwrap();
        long.save().await.unwrap();
        assert_eq!(place.read(id, "running").await, None);
        assert_eq!(place.read(id, "seen").await.as_deref(), Some("2"));
        // And once more under a new id.
        long.remove_value("draft").await.unwrap();
        long.cycle_id().await.unwrap();
        long.save().await.unwrap();
        let id = long.id().unwrap();
        assert_eq!(place.read(id, "draft").await, None);
        assert_eq!(place.read(id, "seen").await.as_deref(), Some("2"));
    }
}

#[tokio::test]
async fn a_session_that_is_cleared_keeps_its_id_and_nothing_else() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann"), ("cart", "umbrella")]).await;
        let request = place.request(Some(id));
        request.clear().await;
        request.insert("cart", "gloves").await.unwrap();
        request.save().await.unwrap();
        assert_eq!(place.read(id, "cart").await.as_deref(), Some("gloves"));
        assert_eq!(place.read(id, "user").await, None);
        assert!(place.of_user("ann").await.is_empty());
    }
}

#[tokio::test]
async fn a_request_that_comes_with_the_old_id_reads_and_changes_nothing() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let cycles = place.request(Some(id));
        cycles.cycle_id().await.unwrap();
        cycles.save().await.unwrap();
        let new = cycles.id().unwrap();
        assert_ne!(new, id);

        let behind = place.request(Some(id));
        assert_eq!(behind.get::<String>("user").await.unwrap().as_deref(), Some("ann"));
        behind.insert("late", "x").await.unwrap();
        assert_eq!(behind.save().await.unwrap_err().to_string(), "the session has another id by now");
        // Its middleware sets no cookie, and takes none away.
        assert!(!behind.is_empty().await);
        assert_eq!(place.read(new, "late").await, None);
        assert_eq!(place.read(new, "user").await.as_deref(), Some("ann"));
    }
}

#[tokio::test]
async fn who_has_the_old_id_does_not_get_the_new_one() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let (cycles, late) = (place.request(Some(id)), place.request(Some(id)));
        late.insert("late", "x").await.unwrap();
        cycles.cycle_id().await.unwrap();
        // Between the two, and after them.
        let thief = place.request(Some(id));
        assert_eq!(thief.get::<String>("user").await.unwrap().as_deref(), Some("ann"));
        thief.cycle_id().await.unwrap();
        assert!(thief.save().await.is_err());
        cycles.save().await.unwrap();
        assert!(thief.save().await.is_err());
        assert_eq!(thief.id(), None);

        // One that loaded it before has its change saved, and no cookie with the old id.
        assert_eq!(late.save().await.unwrap_err().to_string(), "the session has another id by now");
        assert_eq!(place.read(cycles.id().unwrap(), "late").await.as_deref(), Some("x"));
        late.cycle_id().await.unwrap();
        assert!(late.save().await.is_err());
        assert_eq!(place.of_user("ann").await.len(), 1);
    }
}

#[tokio::test]
async fn two_logins_of_one_visitor_at_once_are_two_sessions_and_the_visitors_id_leads_to_neither() {
    for place in places(rules()).await {
        let id = place.session(&[("cart", "umbrella")]).await;
        let logins = [place.request(Some(id)), place.request(Some(id))];
        for login in &logins {
            login.get_value("cart").await.unwrap();
        }
        for login in &logins {
            login.cycle_id().await.unwrap();
            login.insert("user", "ann").await.unwrap();
        }
        for login in &logins {
            login.save().await.unwrap();
            let id = login.id().unwrap();
            assert_eq!(place.read(id, "user").await.as_deref(), Some("ann"));
            assert_eq!(place.read(id, "cart").await.as_deref(), Some("umbrella"));
        }
        assert_eq!(place.of_user("ann").await.len(), 2);
        assert!(!place.finds(id).await);
    }
}

#[tokio::test]
async fn a_request_that_fails_after_cycle_id_leaves_no_way_to_the_session() {
    for place in places(rules()).await {
        let id = place.session(&[("user", "ann")]).await;
        let request = place.request(Some(id));
        request.cycle_id().await.unwrap();
        request.flush().await.unwrap();
        // It waits a minute to be saved. Nobody has its id, and log out everywhere ends it.
        let left = place.of_user("ann").await;
        assert!(left.len() == 1 && left[0].ttl().as_secs() == 60);
        assert_eq!(place.sessions.delete_user("ann", None).await.unwrap().removed.len(), 1);
    }
}
