"""The recorder: hears every event of choreographed sagas, and notices who has gone quiet."""
