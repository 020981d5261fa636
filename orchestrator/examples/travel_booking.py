"""The trip: everything reserved side by side, one charge that decides, then confirmations."""

from datetime import timedelta
from typing import Any

from orchestrator.definition import RetryPolicy, SagaOrchestrator, SagaStep

PATIENCE = RetryPolicy(max_attempts=50, initial=timedelta(seconds=1), maximum=timedelta(hours=1))


class TravelBookingSaga(SagaOrchestrator):
    saga_type = "TravelBooking"
    examples = (
        {"flight": "flight BER-LIS", "hotel": "hotel Mar", "card": "C-7", "limit_cents": 90_000},
        {
            "flight": "flight BER-LIS",
            "hotel": "hotel Mar",
            "car": "car small",
            "card": "C-7",
            "limit_cents": 90_000,
        },
    )

    def define_steps(self, data: dict[str, Any]) -> list[SagaStep | list[SagaStep]]:
        reservations = [
            SagaStep(
                "reserve_flight",
                action="FlightService.Reserve",
                compensation="FlightService.Release",
            ),
            SagaStep(
                "reserve_hotel",
                action="HotelService.Reserve",
                compensation="HotelService.Release",
            ),
        ]
        confirmations = [
            SagaStep("confirm_flight", action="FlightService.Confirm", retry=PATIENCE),
            SagaStep("confirm_hotel", action="HotelService.Confirm", retry=PATIENCE),
        ]
        if data.get("car"):
            reservations.append(
                SagaStep(
                    "reserve_car", action="CarService.Reserve", compensation="CarService.Release"
                )
            )
            confirmations.append(
                SagaStep("confirm_car", action="CarService.Confirm", retry=PATIENCE)
            )
        charge = SagaStep("charge", action="CardService.Charge", pivot=True)
        return [reservations, charge, confirmations]
