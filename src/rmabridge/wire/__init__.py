"""What vendors have in common: signatures, bodies, money, times, waybill numbers and code lists, each in one place."""
