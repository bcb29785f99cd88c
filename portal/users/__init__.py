"""End users: the vendor's customers, who install integrations."""
