"""The loops: intake, router, dispatcher, deadlines, pollers. All waiting lives in tables."""
